//! `ledger`: the operators' command for the ledger of sagas. `ledger rebuild` builds it anew from
//! the journal while the system runs.

mod bar;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use api_gateway::ledger::rebuild::{Generations, Rebuild, Report, on_postgres, on_sqlite};
use clap::{Args, Parser, Subcommand};
use saga::Tasks;
use saga::bus::{Bus, JournalReader, JournalStart};
use saga::embedded::EmbeddedJournalFile;
use saga::failure::chain;
use saga::journal::Journal;
use saga::process::StartError;
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig, Role, TopologyMode};
use saga::retry::RetryPolicy;
use saga::telemetry::{LogFormat, init_logging};

use crate::bar::Bar;

/// Files of the embedded system in its data folder.
const BUS_FILE: &str = "bus.db";
const LEDGER_FILE: &str = "gateway.db";

const EXIT_CODES: &str = "\
Exit codes: 0 the ledger is as the journal has it; 1 an error, run it again; 2 wrong usage.

Killed at any moment, it leaves a ledger that is right or as it was.";

/// The ledger of sagas: built anew from the journal
#[derive(Debug, Parser)]
#[command(name = "ledger", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the whole journal, and put right what the ledger has otherwise, while the system runs
    #[command(after_help = EXIT_CODES)]
    Rebuild(Place),
}

#[derive(Debug, Args)]
struct Place {
    /// RabbitMQ, e.g. amqp://user:password@host:5672/vhost; without it, the embedded system in the data folder
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    #[arg(requires = "database_url")]
    amqp_url: Option<String>,
    /// The gateway's database, e.g. postgres://user:password@host:5432/gateway
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    #[arg(requires = "amqp_url")]
    database_url: Option<String>,
    /// Prefix of every exchange and queue on RabbitMQ
    #[arg(
        long,
        env = "SAGA_NAMESPACE",
        value_name = "PREFIX",
        default_value = ""
    )]
    namespace: String,
    /// Data folder of the embedded system, which may be running
    #[arg(long, env = "DATA_DIR", value_name = "FOLDER", default_value = "data")]
    data_dir: PathBuf,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let Command::Rebuild(place) = command;
    match try_rebuild(&place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = error.as_ref();
            eprintln!("ledger: {}", chain(error));
            ExitCode::FAILURE
        }
    }
}

fn try_rebuild(place: &Place) -> Result<(), StartError> {
    init_logging("warn", LogFormat::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (start, bar) = (Instant::now(), Bar::new());
        let (generations, journal, _bus) = place.open().await?;
        let mut tell = |stage| bar.show(stage);
        let report = Rebuild::new(journal, generations, &mut tell).run().await?;
        bar.clear();
        println!("{}", told(&report, start));
        Ok(())
    })
}

impl Place {
    /// The bus has to be kept as long as its journal is read.
    async fn open(
        &self,
    ) -> Result<
        (
            Generations,
            Box<dyn JournalReader>,
            Option<Arc<RabbitMqBus>>,
        ),
        StartError,
    > {
        if let (Some(amqp), Some(database)) = (&self.amqp_url, &self.database_url) {
            let generations = on_postgres(database).await?;
            let bus = RabbitMqBus::start(self.rabbitmq(amqp), &Tasks::new())?;
            let journal = bus.read_journal(JournalStart::First).await?;
            return Ok((generations, journal, Some(bus)));
        }
        let generations = on_sqlite(&self.data_dir.join(LEDGER_FILE)).await?;
        let file = EmbeddedJournalFile::open(&self.data_dir.join(BUS_FILE)).await?;
        let journal = file.read(JournalStart::First).await?;
        Ok((generations, journal, None))
    }

    /// Only looks whether everything is there, of which the retry queues are none of its business.
    fn rabbitmq(&self, url: &str) -> RabbitMqConfig {
        RabbitMqConfig {
            namespace: self.namespace.clone(),
            role: Role::Operator,
            topology: TopologyMode::Check,
            retry: RetryPolicy { delays: Vec::new() },
            ..RabbitMqConfig::new(url, "ledger")
        }
    }
}

fn told(report: &Report, start: Instant) -> String {
    let Report {
        events,
        skipped,
        sagas,
        missing,
        different,
        kept,
    } = report;
    let seconds = start.elapsed().as_secs_f64();
    format!(
        "{events} events of the journal read, {sagas} sagas compared, in {seconds:.1} s.\n\
         {missing} were missing and {different} different: they are now as the journal has them.\n\
         {kept} begin before the journal does, and {skipped} entries of it are no event that this \
         build reads: left alone."
    )
}
