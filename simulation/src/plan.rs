//! The shape of a world: how many of whom, how crowded, and how much goes wrong.

use std::time::Duration;

use crate::chance::Chance;
use crate::fault::Fault;

/// How many sagas a world has at most. Small worlds, many of them: a bug needs few sagas and the
/// right moment, and a trace of a small one can be read.
const MOST_SAGAS: usize = 160;

#[derive(Clone, Debug)]
pub struct Plan {
    pub sagas: usize,
    /// Few of both make many sagas of one user for one ticket, of which all but one are refused.
    pub users: usize,
    pub tickets: usize,
    pub ticket_workers: usize,
    pub regist_workers: usize,
    pub batch_limit: usize,
    /// The commands are spread over so much time.
    pub rush: Duration,
    /// Faults go on for so long after the last command.
    pub tail: Duration,
    /// The clocks of the replicas are apart by at most so much.
    pub skew: Duration,
    /// Whether callers also call the plain routes.
    pub routes: bool,
    /// By fault, the probability each time it could happen.
    rates: Vec<f64>,
}

impl Plan {
    pub(crate) fn draw(chance: &Chance) -> Self {
        let rate = |fault: &Fault| {
            let present = chance.hits(0.6);
            let share = chance.share();
            if present { fault.most() * share } else { 0.0 }
        };
        let rates = Fault::ALL.iter().map(rate).collect();
        let sagas = chance.number(20..MOST_SAGAS + 1);
        Self {
            sagas,
            users: chance.number(1..sagas + 1),
            tickets: chance.number(1..5),
            ticket_workers: chance.number(1..4),
            regist_workers: chance.number(1..4),
            batch_limit: [1, 4, 16, 64][chance.number(0..4)],
            rush: chance.millis(1..30_000),
            tail: chance.millis(0..90_000),
            skew: match chance.hits(0.2) {
                // More than a saga's deadline: some replicas find everything late.
                true => chance.millis(0..120_000),
                false => chance.millis(0..2_000),
            },
            rates,
            routes: chance.hits(0.4),
        }
    }

    /// The same world with nothing going wrong.
    #[must_use]
    pub fn without_faults(self) -> Self {
        Self {
            rates: vec![0.0; Fault::ALL.len()],
            skew: Duration::ZERO,
            ..self
        }
    }

    pub fn rate(&self, fault: Fault) -> f64 {
        self.rates[fault as usize]
    }
}
