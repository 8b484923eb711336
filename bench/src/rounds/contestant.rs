//! Those that are compared. All of them run at the same time and take turns, so that what else the
//! machine does from one minute to the next hits all of them alike; who has no turn idles.

use std::rc::Rc;

use super::Cell;
use crate::cpu::Accounts;
use crate::failure::BenchError;
use crate::listening::Servers;
use crate::meter::Load;
use crate::relay::Relay;
use crate::system::{Home, System};
use crate::variant::Variant;

/// With one saga in flight, variants differ by less than the machine does from one second to the
/// next, so a measurement is cut into so many turns. With more in flight a turn takes long to fill up.
const TURNS_OF_A_LONE_SAGA: u32 = 20;

pub(super) struct Contestant<'a> {
    variant: Variant,
    running: Running<'a>,
    accounts: Accounts,
}

enum Running<'a> {
    Relay(Box<Relay>),
    Pipeline(Rc<System<'a>>),
    Http(Rc<System<'a>>),
}

impl<'a> Contestant<'a> {
    pub(super) async fn relay(
        amqp_url: &str,
        namespace: &str,
        servers: Servers,
    ) -> Result<Self, BenchError> {
        let relay = Relay::start(amqp_url, namespace).await?;
        Ok(Self {
            variant: Variant::Relay,
            accounts: Accounts::of(&relay.hops, servers),
            running: Running::Relay(Box::new(relay)),
        })
    }

    pub(super) async fn system(
        variant: Variant,
        home: &'a Home,
        servers: Servers,
    ) -> Result<Self, BenchError> {
        let system = System::start(home).await?;
        Ok(Self {
            variant,
            accounts: Accounts::of(&system.processes, servers),
            running: Running::Pipeline(Rc::new(system)),
        })
    }

    /// The pipeline, and the same running system as callers reach it.
    pub(super) async fn with_http(
        home: &'a Home,
        servers: Servers,
    ) -> Result<[Self; 2], BenchError> {
        let system = Rc::new(System::start(home).await?);
        let contestant = |variant, running| Self {
            variant,
            accounts: Accounts::of(&system.processes, servers),
            running,
        };
        Ok([
            contestant(Variant::System, Running::Pipeline(Rc::clone(&system))),
            contestant(Variant::Http, Running::Http(Rc::clone(&system))),
        ])
    }

    async fn turn(&mut self, load: Load, round: usize) -> Result<Cell, BenchError> {
        let before = self.accounts.read();
        let (measured, system) = match &mut self.running {
            Running::Relay(relay) => (relay.run(load).await?, None),
            Running::Pipeline(system) => (system.run(load).await?, Some(system)),
            Running::Http(system) => (system.call(load).await?, Some(system)),
        };
        let ledger_behind = match system {
            Some(system) => Some(system.wait_for_ledger().await?),
            None => None,
        };
        Ok(Cell {
            variant: self.variant,
            in_flight: load.in_flight,
            round,
            measured,
            cpu: self.accounts.read().since(&before),
            ledger_behind,
        })
    }

    pub(super) async fn stop(self) -> Result<(), BenchError> {
        match self.running {
            Running::Relay(relay) => relay.stop().await,
            // The last one to leave stops it.
            Running::Pipeline(system) | Running::Http(system) => match Rc::into_inner(system) {
                Some(system) => system.stop().await,
                None => Ok(()),
            },
        }
    }
}

/// Puts the load on each of them, in turns; every other turn in the opposite order. One cell each.
pub(super) async fn take_turns(
    contestants: &mut [Contestant<'_>],
    load: Load,
    round: usize,
) -> Result<Vec<Cell>, BenchError> {
    let turns = match load.in_flight {
        1 => TURNS_OF_A_LONE_SAGA,
        _ => 1,
    };
    let share = Load {
        warm_up: load.warm_up / turns,
        seconds: load.seconds / turns,
        most: load.most.map(|most| most.div_ceil(u64::from(turns))),
        ..load
    };
    let mut cells: Vec<Option<Cell>> = contestants.iter().map(|_| None).collect();
    for turn in 0..turns as usize {
        let mut order: Vec<_> = contestants.iter_mut().zip(&mut cells).collect();
        if !(round + turn).is_multiple_of(2) {
            order.reverse();
        }
        for (contestant, cell) in order {
            let taken = contestant.turn(share, round).await?;
            match cell {
                Some(cell) => cell.add(&taken),
                None => *cell = Some(taken),
            }
        }
    }
    Ok(cells.into_iter().flatten().collect())
}

impl Cell {
    /// Another turn of the same contestant, under the same load.
    fn add(&mut self, turn: &Self) {
        self.measured.add(&turn.measured);
        self.cpu.add(&turn.cpu);
        // The worst of the turns.
        self.ledger_behind = self.ledger_behind.max(turn.ledger_behind);
    }
}
