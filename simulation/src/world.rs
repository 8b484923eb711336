//! One run: a world is made of a seed, suffers, comes to rest, and is judged.

use std::sync::Arc;
use std::time::Duration;

use events::choreography::{REGIST_WORKER, TICKET_WORKER};
use saga::Tasks;
use tokio::time::sleep;

use crate::assembly::Assembly;
use crate::broker::Broker;
use crate::bus::SharedBroker;
use crate::chance::Chance;
use crate::check::{self, Outcomes, Violation};
use crate::fate::{Fate, Faults};
use crate::ledger::Ledger;
use crate::operator::{calm_down, haunt, repair, replay};
use crate::orders::{self, Order};
use crate::plan::Plan;
use crate::replica::{Ground, Replica};
use crate::routes::{self, Call};
use crate::storage::Outage;
use crate::trace::Entry;

/// With no more faults, everything has ended after this, unless it never ends: the longest delay of
/// a message, all retry tiers, and some.
const REST_LIMIT: Duration = Duration::from_secs(15 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The longest silence of a database, and some. Until then a loop may have something in hand that
/// the broker has long given to another one.
const LOOSE_ENDS: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct World {
    seed: u64,
    plan: Plan,
    chance: Chance,
}

/// What became of a world.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    pub sagas: usize,
    pub outcomes: Outcomes,
    pub faults: Faults,
    pub ledger: Ledger,
    pub violations: Vec<Violation>,
    pub trace: Vec<Entry>,
    /// On its own clock.
    pub lasted: Duration,
}

/// What the callers of a world want.
pub(crate) struct Asked {
    pub(crate) orders: Vec<Order>,
    pub(crate) calls: Vec<Call>,
}

impl World {
    pub fn of(seed: u64) -> Self {
        let chance = Chance::seeded(seed);
        let plan = Plan::draw(&chance);
        Self { seed, plan, chance }
    }

    #[must_use]
    pub fn without_faults(self) -> Self {
        Self {
            plan: self.plan.without_faults(),
            ..self
        }
    }

    /// Runs it to its end, on a clock that jumps.
    pub fn run(self, assembly: Arc<dyn Assembly>) -> Report {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O needs nothing")
            .block_on(self.live(assembly))
    }

    async fn live(self, assembly: Arc<dyn Assembly>) -> Report {
        let Self { seed, plan, chance } = self;
        let fate = Arc::new(Fate::new(plan, chance));
        let ground = ground(&fate, assembly);
        let orders = orders::draw(&fate);
        let asked = Asked {
            calls: routes::draw(&fate, &orders),
            orders,
        };
        let tasks = Tasks::new();
        start_replicas(&ground, &tasks);
        tasks.spawn("haunting", haunt(ground.clone()));

        orders::place(&asked.orders, &asked.calls, &ground).await;
        sleep(fate.plan.tail).await;
        calm_down(&ground);
        rest(&ground).await;
        repair(&ground);
        rest(&ground).await;
        let outcomes = judge_twice(&ground, &asked).await;

        tasks.stop();
        if let Err(error) = tasks.join(REST_LIMIT).await {
            fate.violated(Violation::BadStop("the world", error.to_string()));
        }
        report(seed, &ground, &asked, outcomes)
    }
}

/// Judges, delivers old messages again, and judges again: nothing may have changed.
async fn judge_twice(ground: &Ground, asked: &Asked) -> Outcomes {
    let Some(first) = check::judge(ground, asked) else {
        return Outcomes::default();
    };
    replay(ground);
    rest(ground).await;
    if check::judge(ground, asked).is_some_and(|second| second != first) {
        ground.fate.violated(Violation::ReplayChangedTheWorld);
    }
    first.outcomes
}

fn ground(fate: &Arc<Fate>, assembly: Arc<dyn Assembly>) -> Ground {
    Ground {
        fate: Arc::clone(fate),
        broker: SharedBroker::new(Broker::new(Arc::clone(fate))),
        assembly,
        tickets: ticket_worker::memory::MemoryStore::default(),
        regists: regist_worker::memory::MemoryStore::default(),
        ticket_database: Outage::of(TICKET_WORKER),
        regist_database: Outage::of(REGIST_WORKER),
    }
}

fn start_replicas(ground: &Ground, tasks: &Tasks) {
    let plan = &ground.fate.plan;
    let skew = u64::try_from(plan.skew.as_millis()).unwrap_or(u64::MAX);
    for (service, replicas) in [
        (TICKET_WORKER, plan.ticket_workers),
        (REGIST_WORKER, plan.regist_workers),
    ] {
        for number in 1..=replicas {
            let replica = Replica {
                ground: ground.clone(),
                service,
                number,
                skew: ground.fate.chance.millis(0..skew + 1),
            };
            tasks.spawn(
                format!("{} {number}", service.0),
                replica.run(tasks.clone()),
            );
        }
    }
}

/// Waits until nothing is in flight any more.
async fn rest(ground: &Ground) {
    sleep(LOOSE_ENDS).await;
    let limit = ground.fate.elapsed() + REST_LIMIT;
    loop {
        sleep(LOOK_EVERY).await;
        let in_flight = ground.broker.lock().in_flight();
        if in_flight == 0 {
            return;
        }
        if ground.fate.elapsed() > limit {
            return ground.fate.violated(Violation::Stuck { in_flight });
        }
    }
}

fn report(seed: u64, ground: &Ground, asked: &Asked, outcomes: Outcomes) -> Report {
    let lasted = ground.fate.elapsed();
    let (trace, faults, violations) = ground.fate.close();
    Report {
        seed,
        sagas: asked.orders.len(),
        outcomes,
        faults,
        ledger: ground.broker.lock().ledger,
        violations,
        trace,
        lasted,
    }
}
