//! An embedded bus as a broker: one file, and at most one process on it. Here a process is a
//! runtime, which can be dropped with everything that runs on it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use events::choreography::Step;
use saga::bus::Bus;
use saga::dead_letters::DeadLetters;
use saga::embedded::{EmbeddedBus, EmbeddedConfig, EmbeddedDeadLetters, JournalRetention};
use saga::retry::RetryPolicy;
use saga::{SHUTDOWN_LIMIT, Tasks};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::conformance::{Broker, DeadLetter, PREFETCH, RETRY_DELAY, event, publish};

pub(crate) struct EmbeddedBroker {
    folder: TempDir,
    process: Mutex<Option<Process>>,
}

struct Process {
    runtime: Runtime,
    tasks: Tasks,
    bus: Arc<EmbeddedBus>,
}

pub(crate) fn config(path: PathBuf) -> EmbeddedConfig {
    EmbeddedConfig {
        path,
        retry: RetryPolicy {
            delays: vec![RETRY_DELAY],
        },
        prefetch: PREFETCH,
        journal: JournalRetention::default(),
    }
}

impl EmbeddedBroker {
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("bus.db")
    }

    /// A connection to the file, past the bus.
    pub(crate) async fn sql(&self) -> SqliteConnection {
        let url = format!("sqlite://{}", self.path().display());
        SqliteConnection::connect(&url)
            .await
            .expect("the file is there")
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn start_process(&self) -> Process {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (tasks, config) = (Tasks::new(), config(self.path()));
        let opening = {
            let tasks = tasks.clone();
            async move { EmbeddedBus::open(config, &tasks).await }
        };
        let opened = runtime.spawn(opening).await.expect("no panic");
        Process {
            bus: opened.expect("the file can be opened"),
            runtime,
            tasks,
        }
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn start() -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
            process: Mutex::new(None),
        }
    }

    async fn client(&self) -> Arc<dyn Bus> {
        let running = self.process().as_ref().map(|p| Arc::clone(&p.bus));
        if let Some(bus) = running {
            return bus;
        }
        let process = self.start_process().await;
        let bus = Arc::clone(&process.bus);
        *self.process() = Some(process);
        bus
    }

    async fn close(&self) {
        let process = self.process().take();
        let Some(Process {
            runtime,
            tasks,
            bus,
        }) = process
        else {
            return;
        };
        bus.close().await;
        tasks.stop();
        tasks.join(SHUTDOWN_LIMIT).await.expect("the engine ended");
        runtime.shutdown_background();
    }

    async fn crash(&self) {
        let process = self.process().take();
        // A runtime cannot be dropped on a runtime.
        let dropping = std::thread::spawn(move || drop(process));
        dropping.join().expect("the runtime is dropped");
    }

    async fn put_garbage(&self, step: &'static Step) {
        let bus = self.client().await;
        publish(&bus, &[event(step.on, events::SagaId::mint(), None)]).await;
        let garble = "UPDATE journal SET event = '{\"specversion\":\"1.0\"'
                      WHERE position = (SELECT max(position) FROM journal)";
        let mut sql = self.sql().await;
        let garbled = sqlx::query(garble).execute(&mut sql).await;
        assert_eq!(garbled.expect("an update").rows_affected(), 1);
    }

    async fn dead_letters(&self, step: &'static Step) -> Vec<DeadLetter> {
        let select = "SELECT event, failure, attempts FROM dead_letter WHERE queue = ? ORDER BY id";
        let rows: Vec<(String, String, u32)> = sqlx::query_as(select)
            .bind(step.queue())
            .fetch_all(&mut self.sql().await)
            .await
            .expect("a select");
        let letters = rows
            .into_iter()
            .map(|(json, failure, attempts)| DeadLetter {
                json: json.into_bytes(),
                failure,
                attempts,
            });
        letters.collect()
    }

    async fn letters(&self) -> Box<dyn DeadLetters> {
        let letters = EmbeddedDeadLetters::open(&self.path()).await;
        Box::new(letters.expect("the file is there"))
    }

    async fn stop(self) {
        self.crash().await;
    }
}
