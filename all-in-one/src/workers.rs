//! The participants that run in this process, a line each.

use std::sync::Arc;

use clap::{Arg, Command};
use futures_util::future::BoxFuture;
use saga::Tasks;
use saga::bus::Bus;
use saga::database::Database;
use saga::participant::LoopOptions;
use saga::process::StartError;
use tokio::task::JoinHandle;

pub(crate) const WORKERS: &[Worker] = &[
    Worker {
        database: "ticket",
        start: |bus, database, options, tasks| {
            Box::pin(ticket_worker::start(bus, database, options, tasks))
        },
    },
    Worker {
        database: "regist",
        start: |bus, database, options, tasks| {
            Box::pin(regist_worker::start(bus, database, options, tasks))
        },
    },
];

/// A participant and its own database.
pub(crate) struct Worker {
    /// Names the file of the embedded database, and the flag of another one.
    pub(crate) database: &'static str,
    pub(crate) start: Start,
}

type Start = for<'a> fn(
    &'a Arc<dyn Bus>,
    &'a Database,
    &'a LoopOptions,
    &'a Tasks,
) -> BoxFuture<'a, Result<Vec<JoinHandle<()>>, StartError>>;

/// The setting of a database's URL.
pub(crate) fn database_setting(database: &str) -> String {
    format!("{database}_database_url")
}

/// A flag for the database of each worker, and of the gateway.
pub(crate) fn with_database_flags(command: Command) -> Command {
    let workers = WORKERS.iter().map(|worker| worker.database);
    workers.chain(["gateway"]).fold(command, |command, name| {
        let setting = database_setting(name);
        let flag = Arg::new(setting.clone())
            .long(setting.replace('_', "-"))
            .env(setting.to_uppercase())
            .value_name("URL")
            .help(format!(
                "With --amqp-url: the database of {name}, e.g. \
                 postgres://user:password@localhost:5432/{name}"
            ));
        command.arg(flag)
    })
}
