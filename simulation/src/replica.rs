//! A replica of a worker: the real loops on simulated ports, killed and started again and again.

use std::sync::Arc;
use std::time::Duration;

use events::choreography::{REGIST_WORKER, Service, TICKET_WORKER};
use regist_worker::decide::RegistDecider;
use saga::bus::{Bus, TopologyError};
use saga::decision::{Decider, Moment};
use saga::participant::{self, LoopOptions, Worker};
use saga::store::Store;
use saga::{SHUTDOWN_LIMIT, Tasks};
use ticket_worker::decide::TicketDecider;
use tokio::task::JoinHandle;

use crate::assembly::Assembly;
use crate::bus::{SharedBroker, SimulatedBus};
use crate::check::Violation;
use crate::fate::Fate;
use crate::life::Life;
use crate::storage::{Outage, SimulatedStore};
use crate::trace::{About, Who};

/// What every replica stands on.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) fate: Arc<Fate>,
    pub(crate) broker: SharedBroker,
    pub(crate) assembly: Arc<dyn Assembly>,
    pub(crate) tickets: ticket_worker::memory::MemoryStore,
    pub(crate) regists: regist_worker::memory::MemoryStore,
    pub(crate) ticket_database: Outage,
    pub(crate) regist_database: Outage,
}

pub(crate) struct Replica {
    pub(crate) ground: Ground,
    pub(crate) service: Service,
    pub(crate) number: usize,
    /// How far its clock is ahead.
    pub(crate) skew: Duration,
}

impl Replica {
    /// Lives again and again until asked to stop, and then ends its last life in peace.
    pub(crate) async fn run(self, tasks: Tasks) {
        let stop = tasks.stop_token();
        for life in 0.. {
            let life = Life::new(Arc::clone(&self.ground.fate), self.who(life));
            let process = Tasks::new();
            let loops = self.start(&life, &process).await;
            let loops = loops.expect("the simulated broker has every queue of the table");
            life.note("started", About::default());
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.end(&process).await,
                () = life.ended() => kill(loops).await,
            }
            tokio::time::sleep(self.ground.fate.chance.millis(10..3_000)).await;
        }
    }

    fn who(&self, life: usize) -> Who {
        Who::Replica {
            service: self.service.0,
            number: self.number,
            life,
        }
    }

    async fn end(&self, process: &Tasks) {
        process.stop();
        if let Err(error) = process.join(SHUTDOWN_LIMIT).await {
            let violation = Violation::BadStop(self.service.0, error.to_string());
            self.ground.fate.violated(violation);
        }
    }

    async fn start(
        &self,
        life: &Arc<Life>,
        process: &Tasks,
    ) -> Result<Vec<JoinHandle<()>>, TopologyError> {
        let ground = &self.ground;
        let bus = ground.assembly.bus(Arc::new(SimulatedBus {
            broker: ground.broker.clone(),
            life: Arc::clone(life),
        }));
        if self.service == TICKET_WORKER {
            let store = ground.assembly.ticket_store(Box::new(SimulatedStore {
                inner: ground.tickets.clone(),
                outage: ground.ticket_database.clone(),
                life: Arc::clone(life),
            }));
            self.start_worker(TicketDecider, store, &bus, process).await
        } else {
            assert_eq!(
                self.service, REGIST_WORKER,
                "a new worker needs its line here"
            );
            let store = ground.assembly.regist_store(Box::new(SimulatedStore {
                inner: ground.regists.clone(),
                outage: ground.regist_database.clone(),
                life: Arc::clone(life),
            }));
            self.start_worker(RegistDecider, store, &bus, process).await
        }
    }

    async fn start_worker<D: Decider>(
        &self,
        decider: D,
        store: Box<dyn Store<D>>,
        bus: &Arc<dyn Bus>,
        process: &Tasks,
    ) -> Result<Vec<JoinHandle<()>>, TopologyError> {
        let (fate, skew) = (Arc::clone(&self.ground.fate), self.skew);
        let worker = Worker {
            decider,
            store,
            clock: move || Moment {
                now: fate.now() + skew,
                fresh_id: fate.chance.uuid(),
            },
        };
        let options = LoopOptions {
            batch_limit: self.ground.fate.plan.batch_limit,
            jitter_seed: Some(self.ground.fate.chance.seed()),
            ..LoopOptions::default()
        };
        participant::start(worker, bus, &options, process).await
    }
}

/// Drops every task where it stands, as a killed process does.
async fn kill(loops: Vec<JoinHandle<()>>) {
    for running in &loops {
        running.abort();
    }
    for running in loops {
        // It was aborted; what it was doing is what the next life has to live with.
        let _ = running.await;
    }
}
