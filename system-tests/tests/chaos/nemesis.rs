//! Makes faults and clears them.

use std::time::Duration;

use events::choreography;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use system_tests::http;
use system_tests::line::State;
use system_tests::load::Load;
use system_tests::process::wait_until;
use system_tests::seed::random;
use system_tests::service::Service;
use uuid::Uuid;

use crate::fault::{Deck, Kind};
use crate::recovery::Watch;
use crate::report::History;
use crate::rig::Rig;
use crate::{LIMIT, Run};

/// Ids of one millisecond are in no order; after this, another one has begun.
const TICK_OF_IDS: Duration = Duration::from_millis(2);
/// Between two faults at least this many calls are answered, so that each hits a working system.
const CALLS_BETWEEN: u64 = 200;

/// What RabbitMQ comes with.
const MEMORY_WATERMARK: &str = "0.4";
/// As in the private broker's configuration.
const DISK_LIMIT: &str = "10MB";
/// More than any disk holds, in bytes.
const MORE_DISK_THAN_THERE_IS: &str = "1000000000000000000";
/// No caller of the load has this number.
const PROBING_USER: u64 = u64::MAX >> 1;

/// Whoever makes faults. It draws from its own source, so that a seed repeats its choices.
pub(crate) struct Nemesis<'a> {
    rig: &'a mut Rig,
    load: &'a Load,
    watch: Watch,
    random: StdRng,
    probes: u64,
}

impl<'a> Nemesis<'a> {
    pub(crate) fn of(rig: &'a mut Rig, load: &'a Load, seed: u64) -> Self {
        let (watch, random) = (Watch::of(rig), random(seed));
        Self {
            rig,
            load,
            watch,
            random,
            probes: 0,
        }
    }

    /// Two at once are cleared one after the other, and recovered from together.
    pub(crate) fn torment(&mut self, run: &Run) -> History {
        let mut history = History::begin();
        loop {
            let mut deck = Deck::shuffled(run.kinds.clone(), &mut self.random);
            loop {
                let kinds = deck.draw(self.random.random_bool(run.two_at_once));
                if kinds.is_empty() {
                    break;
                }
                self.load.wait_for_more(CALLS_BETWEEN, LIMIT);
                for kind in &kinds {
                    history.say("inject", *kind);
                    self.inject(*kind);
                }
                std::thread::sleep(run.hold(&mut self.random));
                for kind in &kinds {
                    self.clear(*kind);
                    history.say("cleared", *kind);
                }
                let to_the_end = !self.random.random_bool(run.impatient);
                let recovery = self.watch.recovery(self.rig, self.load, to_the_end);
                history.recovered(kinds, recovery);
            }
            if history.elapsed() >= run.duration {
                return history;
            }
        }
    }

    fn inject(&mut self, kind: Kind) {
        let services = &mut self.rig.services;
        let one = self.random.random_range(0..services.ticket_workers.len());
        match kind {
            Kind::KillGateway => services.gateway.kill_dash_9(),
            Kind::KillTicketWorker => services.ticket_workers[one].kill_dash_9(),
            Kind::KillTicketWorkers => kill(&mut services.ticket_workers),
            Kind::KillRegistWorker => services.regist_workers[one].kill_dash_9(),
            Kind::KillRegistWorkers => kill(&mut services.regist_workers),
            Kind::KillRabbitMq => self.rig.servers.broker.kill(),
            Kind::KillPostgres => self.rig.servers.postgres.kill(),
            Kind::CutRabbitMq => self.rig.to_rabbitmq.set(State::Cut),
            Kind::CutPostgres => self.rig.to_postgres.set(State::Cut),
            Kind::StallRabbitMq => self.rig.to_rabbitmq.set(State::Stalled),
            Kind::StallPostgres => self.rig.to_postgres.set(State::Stalled),
            Kind::SlowRabbitMq => self.rig.to_rabbitmq.set(slow(&mut self.random)),
            Kind::SlowPostgres => self.rig.to_postgres.set(slow(&mut self.random)),
            Kind::LoseRabbitMq => self.rig.to_rabbitmq.lose_connections(),
            Kind::LosePostgres => self.rig.to_postgres.lose_connections(),
            Kind::MemoryAlarm => self.set_memory_watermark("0"),
            Kind::DiskAlarm => self.set_disk_limit(MORE_DISK_THAN_THERE_IS),
            Kind::DeleteWorkQueue => self.delete_a_work_queue(),
            Kind::DeleteReplies => self.delete_replies(),
        }
    }

    /// Returns when the server takes connections again, but does not wait for a service.
    fn clear(&mut self, kind: Kind) {
        let services = &mut self.rig.services;
        match kind {
            Kind::KillGateway
            | Kind::KillTicketWorker
            | Kind::KillTicketWorkers
            | Kind::KillRegistWorker
            | Kind::KillRegistWorkers => {
                let killed = services.all().filter(|service| !service.is_started());
                killed.for_each(Service::start);
            }
            Kind::KillRabbitMq => self.rig.servers.broker.start(),
            Kind::KillPostgres => self.rig.servers.postgres.start(),
            Kind::CutRabbitMq | Kind::StallRabbitMq | Kind::SlowRabbitMq => {
                self.rig.to_rabbitmq.set(State::Open);
            }
            Kind::CutPostgres | Kind::StallPostgres | Kind::SlowPostgres => {
                self.rig.to_postgres.set(State::Open);
            }
            Kind::MemoryAlarm => self.set_memory_watermark(MEMORY_WATERMARK),
            Kind::DiskAlarm => self.set_disk_limit(DISK_LIMIT),
            // Its consumers declare it again.
            Kind::DeleteWorkQueue => self.load.resume(),
            // The services have to get over it by themselves.
            Kind::LoseRabbitMq | Kind::LosePostgres | Kind::DeleteReplies => {}
        }
    }

    fn control(&self, arguments: &[&str]) -> String {
        self.rig.servers.broker.control(arguments)
    }

    fn set_memory_watermark(&self, fraction: &str) {
        self.control(&["-q", "set_vm_memory_high_watermark", fraction]);
    }

    fn set_disk_limit(&self, limit: &str) {
        self.control(&["-q", "set_disk_free_limit", limit]);
    }

    /// What a queue holds is destroyed with it, which no delivery guarantee survives. So the load
    /// pauses until all sagas have ended, and goes on when the queue is there again: what has to
    /// survive is the consumers, which nobody starts again.
    fn delete_a_work_queue(&mut self) {
        self.load.pause(LIMIT);
        self.wait_until_all_sagas_have_ended();
        let steps: Vec<_> = choreography::steps().collect();
        let queue = steps
            .choose(&mut self.random)
            .expect("there are steps")
            .queue();
        self.control(&["-q", "delete_queue", &queue]);
        wait_until("declared and bound again", LIMIT, || {
            let bindings =
                self.control(&["-q", "list_bindings", "source_name", "destination_name"]);
            let mut bindings = bindings.lines().filter_map(|line| line.split_once('\t'));
            bindings.any(|(from, to)| !from.is_empty() && to == queue)
        });
    }

    /// One more saga is behind all others in the journal: when the ledger has it, it has all.
    fn wait_until_all_sagas_have_ended(&mut self) {
        let gateway = self.rig.services.gateway.address();
        let mut before = Uuid::now_v7();
        wait_until("taking a probe", LIMIT, || {
            // Each is behind those before it, of which nobody may have heard how they ended.
            before = Uuid::now_v7();
            std::thread::sleep(TICK_OF_IDS);
            self.probes += 1;
            let probe = format!(
                r#"{{"userId": {PROBING_USER}, "ticketId": {}}}"#,
                self.probes
            );
            http::post(gateway, "/regist/trans", &probe).is_ok_and(|answer| answer.status == 200)
        });
        self.watch.wait_until_drained(before, || {});
    }

    /// What was in it is in the journal, too, so this one may go at any moment.
    fn delete_replies(&self) {
        let queues = self.rig.servers.broker.queues();
        let mut names = queues.iter().map(|queue| queue.name.as_str());
        if let Some(replies) = names.find(|name| name.contains(".replies.")) {
            self.control(&["-q", "delete_queue", replies]);
        }
    }
}

fn kill(replicas: &mut [Service]) {
    replicas.iter_mut().for_each(Service::kill_dash_9);
}

/// Slow enough to be felt, and fast enough for heartbeats.
fn slow(random: &mut StdRng) -> State {
    State::Slow {
        delay: Duration::from_millis(random.random_range(20..100)),
        bytes_per_second: random.random_range(64_000..512_000),
    }
}
