//! One run: every variant at every number of sagas in flight, in rounds.

mod contestant;

use std::time::Duration;

use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig};

use self::contestant::Contestant;
use crate::arguments::Arguments;
use crate::bare::{self, Bare};
use crate::cpu::Usage;
use crate::databases::{self, Databases};
use crate::drain::{self, Drain};
use crate::failure::BenchError;
use crate::listening::Servers;
use crate::meter::{Load, Measured};
use crate::open_files;
use crate::system::{Home, Names, System};
use crate::variant::Variant;

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) variant: Variant,
    pub(crate) in_flight: usize,
    pub(crate) round: usize,
    pub(crate) measured: Measured,
    /// From the first saga of its warm-up until the ledger had caught up.
    pub(crate) cpu: Usage,
    pub(crate) ledger_behind: Option<Duration>,
}

/// All that a run found out.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) cells: Vec<Cell>,
    pub(crate) bare: Vec<Bare>,
    pub(crate) drain: Option<Drain>,
    /// How many systems' databases were checked, and what was wrong in them.
    pub(crate) checked: usize,
    pub(crate) violations: Vec<String>,
}

pub(crate) struct Run<'a> {
    arguments: &'a Arguments,
    names: &'a Names,
    servers: Servers,
    findings: Findings,
}

impl<'a> Run<'a> {
    pub(crate) fn new(arguments: &'a Arguments, names: &'a Names) -> Self {
        Self {
            arguments,
            names,
            servers: Servers::find(&arguments.amqp_url, &arguments.database_url),
            findings: Findings::default(),
        }
    }

    /// Measures everything that was asked for, then checks the invariants.
    pub(crate) async fn measure(mut self) -> Result<Findings, BenchError> {
        let homes = if let Some(sagas) = self.arguments.backlog {
            let home = self.home(Variant::System).await?;
            let drained = drain::run(&home, sagas, self.arguments.refusals).await?;
            self.findings.drain = Some(drained);
            vec![(Variant::System, home)]
        } else if self.arguments.http {
            self.rounds_with_http().await?
        } else {
            self.rounds().await?
        };
        for (variant, home) in &homes {
            let violated = home.violations().await?.into_iter();
            let named = violated.map(|text| format!("{}: {text}", variant.title()));
            self.findings.violations.extend(named);
            self.findings.checked += 1;
        }
        Ok(self.findings)
    }

    async fn home(&self, variant: Variant) -> Result<Home, BenchError> {
        let (amqp, database) = (&self.arguments.amqp_url, &self.arguments.database_url);
        Home::create(variant, amqp, database, self.names).await
    }

    async fn rounds(&mut self) -> Result<Vec<(Variant, Home)>, BenchError> {
        let mut homes = Vec::new();
        let variants = self.arguments.variants().into_iter();
        for variant in variants.filter(|variant| *variant != Variant::Relay) {
            homes.push((variant, self.home(variant).await?));
        }
        if let (Some(sagas), Some((_, home))) = (self.arguments.finished_sagas, homes.last()) {
            System::start(home).await?.stop().await?;
            home.fill(sagas).await?;
        }
        let bare = self.names.bare();
        let database = databases::create(&self.arguments.database_url, &bare).await?;
        for round in 0..self.arguments.rounds {
            let amqp = &self.arguments.amqp_url;
            let measured = bare::measure(amqp, &bare, &database).await?;
            eprintln!("round {}: {measured:.1?}", round + 1);
            self.findings.bare.push(measured);
            let contestants = self.start(&homes).await?;
            self.round(contestants, round).await?;
        }
        Ok(homes)
    }

    /// What HTTP adds: the pipeline and `POST /regist/trans` on the same running system.
    async fn rounds_with_http(&mut self) -> Result<Vec<(Variant, Home)>, BenchError> {
        let connections = self.arguments.in_flight.iter().max();
        open_files::check(connections.copied().unwrap_or_default())?;
        let home = self.home(Variant::System).await?;
        for round in 0..self.arguments.rounds {
            let contestants = Contestant::with_http(&home, self.servers).await?;
            self.round(contestants.into(), round).await?;
        }
        Ok(vec![(Variant::System, home)])
    }

    async fn round(
        &mut self,
        mut contestants: Vec<Contestant<'_>>,
        round: usize,
    ) -> Result<(), BenchError> {
        for &in_flight in &self.arguments.in_flight {
            let load = self.load(in_flight);
            let cells = contestant::take_turns(&mut contestants, load, round).await?;
            cells.into_iter().for_each(|cell| self.record(cell));
        }
        for contestant in contestants {
            contestant.stop().await?;
        }
        Ok(())
    }

    async fn start<'h>(
        &self,
        homes: &'h [(Variant, Home)],
    ) -> Result<Vec<Contestant<'h>>, BenchError> {
        let mut contestants = Vec::new();
        if self.arguments.variants().contains(&Variant::Relay) {
            let namespace = self.names.namespace(Variant::Relay);
            let url = &self.arguments.amqp_url;
            contestants.push(Contestant::relay(url, &namespace, self.servers).await?);
        }
        for (variant, home) in homes {
            contestants.push(Contestant::system(*variant, home, self.servers).await?);
        }
        Ok(contestants)
    }

    fn load(&self, in_flight: usize) -> Load {
        Load {
            in_flight,
            refusals: self.arguments.refusals,
            warm_up: Duration::from_secs_f64(self.arguments.warm_up),
            seconds: Duration::from_secs_f64(self.arguments.seconds),
            most: self.arguments.sagas,
        }
    }

    fn record(&mut self, cell: Cell) {
        let measured = &cell.measured;
        let (p50, p99) = (measured.latency(0.50), measured.latency(0.99));
        eprintln!(
            "round {} {:>14} {:>6} in flight: {:>8.0}/s  p50 {p50:.1?}  p99 {p99:.1?}",
            cell.round + 1,
            cell.variant.title(),
            cell.in_flight,
            measured.per_second(),
        );
        self.findings.cells.push(cell);
    }
}

/// Removes everything that a run may have created, whatever came of it.
pub(crate) async fn clean_up(arguments: &Arguments, names: &Names) -> Result<(), BenchError> {
    for variant in Variant::ALL {
        let config = RabbitMqConfig {
            namespace: names.namespace(variant),
            ..RabbitMqConfig::new(arguments.amqp_url.clone(), "bench")
        };
        RabbitMqBus::delete_topology(config).await?;
        Databases::drop(&arguments.database_url, &names.database(variant)).await?;
    }
    bare::clean_up(&arguments.amqp_url, &names.bare()).await?;
    databases::drop(&arguments.database_url, &names.bare()).await
}
