//! The kinds of faults, by the names under which the table of results and `CHAOS_KINDS` know them.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    KillGateway,
    KillTicketWorker,
    KillTicketWorkers,
    KillRegistWorker,
    KillRegistWorkers,
    KillRabbitMq,
    KillPostgres,
    CutRabbitMq,
    CutPostgres,
    StallRabbitMq,
    StallPostgres,
    SlowRabbitMq,
    SlowPostgres,
    LoseRabbitMq,
    LosePostgres,
    MemoryAlarm,
    DiskAlarm,
    DeleteWorkQueue,
    DeleteReplies,
}

/// What a fault befalls. Two at once never befall the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Services,
    RabbitMq,
    Postgres,
    /// The whole system has to stand still for it.
    Everything,
}

const KINDS: [(Kind, &str, Target); 19] = [
    (Kind::KillGateway, "kill-gateway", Target::Services),
    (
        Kind::KillTicketWorker,
        "kill-ticket-worker",
        Target::Services,
    ),
    (
        Kind::KillTicketWorkers,
        "kill-ticket-workers",
        Target::Services,
    ),
    (
        Kind::KillRegistWorker,
        "kill-regist-worker",
        Target::Services,
    ),
    (
        Kind::KillRegistWorkers,
        "kill-regist-workers",
        Target::Services,
    ),
    (Kind::KillRabbitMq, "kill-rabbitmq", Target::RabbitMq),
    (Kind::KillPostgres, "kill-postgres", Target::Postgres),
    (Kind::CutRabbitMq, "cut-rabbitmq", Target::RabbitMq),
    (Kind::CutPostgres, "cut-postgres", Target::Postgres),
    (Kind::StallRabbitMq, "stall-rabbitmq", Target::RabbitMq),
    (Kind::StallPostgres, "stall-postgres", Target::Postgres),
    (Kind::SlowRabbitMq, "slow-rabbitmq", Target::RabbitMq),
    (Kind::SlowPostgres, "slow-postgres", Target::Postgres),
    (Kind::LoseRabbitMq, "lose-rabbitmq", Target::RabbitMq),
    (Kind::LosePostgres, "lose-postgres", Target::Postgres),
    (Kind::MemoryAlarm, "memory-alarm", Target::RabbitMq),
    (Kind::DiskAlarm, "disk-alarm", Target::RabbitMq),
    (
        Kind::DeleteWorkQueue,
        "delete-work-queue",
        Target::Everything,
    ),
    (Kind::DeleteReplies, "delete-replies", Target::RabbitMq),
];

impl Kind {
    fn row(self) -> &'static (Kind, &'static str, Target) {
        let mut kinds = KINDS.iter();
        kinds
            .find(|(kind, ..)| *kind == self)
            .expect("every kind is listed")
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    /// Whether both may be there at once.
    fn goes_with(self, other: Kind) -> bool {
        let (one, other) = (self.row().2, other.row().2);
        one != other && ![one, other].contains(&Target::Everything)
    }
}

/// The kinds of these names, separated by commas.
pub(crate) fn named(names: &str) -> Vec<Kind> {
    let named = |name: &str| {
        let mut kinds = KINDS.iter();
        let found = kinds.find(|(_, known, _)| *known == name.trim());
        found
            .unwrap_or_else(|| panic!("there is no fault {name:?}"))
            .0
    };
    names.split(',').map(named).collect()
}

pub(crate) fn all() -> Vec<Kind> {
    KINDS.iter().map(|(kind, ..)| *kind).collect()
}

/// Kinds in random order, each once.
pub(crate) struct Deck {
    cards: Vec<Kind>,
}

impl Deck {
    pub(crate) fn shuffled(mut cards: Vec<Kind>, random: &mut StdRng) -> Self {
        cards.shuffle(random);
        Self { cards }
    }

    /// The next one, or the next two that may be there at once.
    pub(crate) fn draw(&mut self, two: bool) -> Vec<Kind> {
        let Some(first) = self.cards.pop() else {
            return Vec::new();
        };
        let second = self.cards.iter().rposition(|card| first.goes_with(*card));
        let second = second.filter(|_| two).map(|place| self.cards.remove(place));
        [Some(first), second].into_iter().flatten().collect()
    }
}
