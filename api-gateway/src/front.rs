//! The gateway put together: HTTP before everything else, then the replies and the projector.

use std::sync::Arc;
use std::time::Duration;

use saga::Tasks;
use saga::bus::{Bus, Health, Queue, TopologyError};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::accepted::AcceptedSagas;
use crate::dead_letters::DeadLetterOffice;
use crate::http::{self, Gateway};
use crate::ledger::Ledger;
use crate::ledger::projector::Projector;
use crate::metrics::Metrics;
use crate::places::Places;
use crate::settings::GatewayConfig;
use crate::starter::{LOOKS_AT_ONCE, Starter};
use crate::waiters::{Waiters, take_replies};

/// What the gateway stands on.
#[derive(Clone)]
pub struct Surroundings {
    pub bus: Arc<dyn Bus>,
    pub ledger: Arc<dyn Ledger>,
    /// Whether the ledger's database can be used.
    pub store: watch::Receiver<Health>,
    /// The text of `/metrics`. Its recorder must be installed by now.
    pub render_metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// A gateway that serves HTTP already.
pub struct Front {
    surroundings: Surroundings,
    instance: String,
    keep_ended: Option<Duration>,
    metrics: Metrics,
    waiters: Waiters,
    accepted: Arc<AcceptedSagas>,
    listens: watch::Sender<bool>,
    projection: watch::Sender<Health>,
    running: Vec<JoinHandle<()>>,
    /// Cancelled when the last request is answered.
    drained: CancellationToken,
}

impl Front {
    /// Serves HTTP on the listener until the tasks are stopped. `drained` is cancelled when the last
    /// request is answered.
    pub fn open(
        config: GatewayConfig,
        listener: TcpListener,
        drained: CancellationToken,
        surroundings: Surroundings,
        tasks: &Tasks,
    ) -> Self {
        let metrics = Metrics::new();
        let waiters = Waiters::new(metrics.waiting.clone());
        let places = Places::new(config.limits.max_sagas, config.limits.max_sagas_per_caller);
        let accepted = Arc::new(AcceptedSagas::default());
        let listens = watch::Sender::new(false);
        let projection = watch::Sender::new(Health::Down {
            waiting_for: "the journal; it is not read yet".to_owned(),
        });
        let starter = Starter {
            bus: Arc::clone(&surroundings.bus),
            ledger: Arc::clone(&surroundings.ledger),
            instance: config.instance.clone(),
            wait_limit: config.wait_limit,
            waiters: waiters.clone(),
            places,
            accepted: Arc::clone(&accepted),
            started: metrics.accepted.clone(),
            listens: listens.subscribe(),
            looks: Semaphore::new(LOOKS_AT_ONCE),
            stop: tasks.stop_token(),
        };
        config.auth.keep_fresh(tasks);
        let ledger = projection.subscribe();
        let (bus, retry) = (Arc::clone(&surroundings.bus), config.retry.clone());
        let office = DeadLetterOffice::new(bus, retry, tasks.clone());
        let deeds = tasks.spawn("dead letters", office.stopped());
        let gateway = Gateway::new(starter, office, &config, &surroundings, ledger);
        let router = http::router(gateway);
        let served = http::serve(listener, router, config.limits, tasks.stop_token());
        let guard = drained.clone().drop_guard();
        let server = tasks.spawn("http server", async move {
            let _drained = guard;
            served.await;
        });
        Self {
            surroundings,
            instance: config.instance,
            keep_ended: config.keep_ended,
            metrics,
            waiters,
            accepted,
            listens,
            projection,
            running: vec![server, deeds],
            drained,
        }
    }

    /// Hands ends of sagas to waiting callers; until then no saga is started. Returns when the
    /// replies are consumed, or at a stop.
    pub async fn take_replies(&mut self, tasks: &Tasks) -> Result<(), TopologyError> {
        let queue = Queue::Replies {
            instance: self.instance.clone(),
        };
        let consume = self.surroundings.bus.consume(queue);
        let Some(consumer) = tasks.stop_token().run_until_cancelled(consume).await else {
            return Ok(());
        };
        let consumer = consumer?;
        let (waiters, accepted) = (self.waiters.clone(), Arc::clone(&self.accepted));
        // Replies are taken until the last waiting request is answered.
        let replies = take_replies(consumer, waiters, accepted, self.drained.clone());
        self.running.push(tasks.spawn("replies", replies));
        self.listens.send_replace(true);
        Ok(())
    }

    /// Projects the journal into the ledger. Returns everything that runs.
    pub fn project(mut self, tasks: &Tasks) -> Vec<JoinHandle<()>> {
        let projector = Projector {
            bus: self.surroundings.bus,
            ledger: self.surroundings.ledger,
            owner: self.instance,
            keep_ended: self.keep_ended,
            metrics: self.metrics.ledger,
            health: self.projection,
        };
        let projected = projector.run(tasks.stop_token());
        self.running
            .push(tasks.spawn("ledger projector", projected));
        self.running
    }
}
