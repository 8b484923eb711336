//! Where the journal of a live system is: the flags, and the way there.

use std::path::PathBuf;

use clap::Args;
use event_replay::live::Stand;
use indicatif::{ProgressBar, ProgressStyle};
use saga::Tasks;
use saga::embedded::EmbeddedJournalFile;
use saga::journal::{Journal, JournalError};
use saga::rabbitmq::{RabbitMqConfig, RabbitMqJournal, Role};

/// The file of the embedded bus in the data folder of the system.
const BUS_FILE: &str = "bus.db";

#[derive(Debug, Args)]
pub(super) struct Place {
    /// RabbitMQ, e.g. amqp://user:password@host:5672/vhost; without it, the embedded bus in the data
    /// folder
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    amqp_url: Option<String>,
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

impl Place {
    pub(super) async fn open(&self) -> Result<Box<dyn Journal>, JournalError> {
        Ok(match &self.amqp_url {
            Some(url) => {
                let mut config = RabbitMqConfig::new(url, "event-replay");
                config.namespace.clone_from(&self.namespace);
                config.role = Role::Operator;
                Box::new(RabbitMqJournal::open(config, &Tasks::new()).await?)
            }
            None => Box::new(EmbeddedJournalFile::open(&self.data_dir.join(BUS_FILE)).await?),
        })
    }
}

/// A bar for reading the journal. Its length is known with the first page.
pub(super) fn journal_bar(doing: &'static str) -> ProgressBar {
    let template = "{msg} {wide_bar} {pos}/{len} messages of the journal, {eta}";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    ProgressBar::new(0).with_style(style).with_message(doing)
}

pub(super) fn watch(bar: &ProgressBar) -> impl Fn(Stand) + use<'_> {
    |Stand { done, all }| {
        bar.set_length(all);
        bar.set_position(done);
    }
}

/// Runs what a subcommand does with a live system.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // The client's own work beside the one that decodes and writes.
    let runtime = runtime.worker_threads(1).enable_all().build()?;
    Ok(runtime.block_on(future))
}
