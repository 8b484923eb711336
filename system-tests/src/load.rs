//! Callers that buy and register over HTTP, and remember every answer they got.
//!
//! A share of the calls repeats a pair that was answered with success, so it must be refused. The
//! number of calls is bounded; a caller whose connection breaks opens another and goes on, which is
//! how it meets a service that was killed and comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{Connection, Response};
use crate::process::wait_until;

/// Before a caller tries again after a broken connection or a 503: a service that is down must not
/// be asked thousands of times a second.
const PAUSE: Duration = Duration::from_millis(50);

/// What the callers do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub callers: usize,
    /// All callers together stop after this many calls.
    pub calls: u64,
    /// How long a caller rests after each answer, so that the bound on calls is not a bound on the
    /// time that the load lasts.
    pub rest: Duration,
    /// Of a hundred calls, how many repeat a pair that has succeeded before.
    pub repeats_per_cent: u32,
    pub seed: u64,
}

/// What came of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub pair: Pair,
    pub answer: Answer,
}

/// The user and the ticket on sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    pub user: u64,
    pub ticket: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200: bought and registered.
    Completed { saga: Uuid },
    /// 409: nothing is left of it.
    Refused { saga: Uuid, reason: String },
    /// 202: taken, and still running when the answer was given.
    Taken { saga: Uuid },
    /// Any other status: the gateway says that it did not take it.
    NotTaken { status: u16, body: String },
    /// The connection broke before an answer: taken or not, nobody knows.
    Lost,
}

impl Answer {
    /// What the gateway's answer means.
    pub fn of(response: &Response) -> Self {
        match response.status {
            200 => Self::Completed {
                saga: saga_of(&response.json()["data"], response),
            },
            202 => Self::Taken {
                saga: saga_of(&response.json()["data"], response),
            },
            409 => Self::Refused {
                saga: saga_of(&response.json(), response),
                reason: response.json()["reason"].as_str().unwrap_or("").to_owned(),
            },
            status => Self::NotTaken {
                status,
                body: response.body.clone(),
            },
        }
    }

    /// The saga that the gateway has promised to bring to an end.
    pub fn saga(&self) -> Option<Uuid> {
        match self {
            Self::Completed { saga } | Self::Refused { saga, .. } | Self::Taken { saga } => {
                Some(*saga)
            }
            Self::NotTaken { .. } | Self::Lost => None,
        }
    }
}

/// Callers at work. Dropping it stops them.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<Vec<Call>>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    plan: Plan,
    stop: AtomicBool,
    is_paused: AtomicBool,
    in_calls: AtomicUsize,
    made: AtomicU64,
    taken: AtomicU64,
    ended: AtomicU64,
}

impl Load {
    pub fn start(address: SocketAddr, plan: Plan) -> Self {
        let shared = Arc::new(Shared {
            address,
            plan,
            stop: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            in_calls: AtomicUsize::new(0),
            made: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        });
        let caller = |number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || Caller::new(number, shared).work())
        };
        let callers = (0..plan.callers).map(caller).collect();
        Self { shared, callers }
    }

    /// How many calls the gateway has taken so far.
    pub fn taken(&self) -> u64 {
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// How many calls were answered with an outcome so far.
    pub fn ended(&self) -> u64 {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// Lets every caller finish the call it is in, and make no more until [`Self::resume`].
    pub fn pause(&self, limit: Duration) {
        self.shared.is_paused.store(true, Ordering::SeqCst);
        wait_until("pausing", limit, || {
            self.shared.in_calls.load(Ordering::SeqCst) == 0
        });
    }

    pub fn resume(&self) {
        self.shared.is_paused.store(false, Ordering::SeqCst);
    }

    /// Waits until the gateway has taken this many calls more: it works, and it is under load.
    pub fn wait_for_more(&self, calls: u64, limit: Duration) {
        let until = self.taken() + calls;
        wait_until("taking calls", limit, || self.taken() >= until);
    }

    /// Lets every caller finish the call it is in, and returns all calls that were made.
    pub fn finish(mut self) -> Vec<Call> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.all_calls()
    }

    /// Waits until as many calls are made as were planned, and returns them.
    pub fn finish_all(mut self) -> Vec<Call> {
        self.all_calls()
    }

    fn all_calls(&mut self) -> Vec<Call> {
        let callers = std::mem::take(&mut self.callers);
        let calls = callers.into_iter().map(|caller| caller.join());
        calls
            .flat_map(|calls| calls.expect("no caller panics"))
            .collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn count(&self, answer: &Answer) {
        if answer.saga().is_some() {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(answer, Answer::Completed { .. } | Answer::Refused { .. }) {
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Caller {
    shared: Arc<Shared>,
    random: StdRng,
    connection: Option<Connection>,
    next_user: u64,
    succeeded: Vec<Pair>,
}

impl Caller {
    /// Each caller has users of its own, so that only repeated pairs are refused.
    fn new(number: usize, shared: Arc<Shared>) -> Self {
        let number = u64::try_from(number).expect("few callers");
        Self {
            random: StdRng::seed_from_u64(shared.plan.seed.wrapping_add(number)),
            shared,
            connection: None,
            next_user: number << 32,
            succeeded: Vec::new(),
        }
    }

    fn work(mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        while !self.shared.stop.load(Ordering::Relaxed)
            && self.shared.made.fetch_add(1, Ordering::Relaxed) < self.shared.plan.calls
        {
            self.begin();
            let pair = self.pair();
            let answer = self.call(pair);
            self.shared.in_calls.fetch_sub(1, Ordering::SeqCst);
            self.shared.count(&answer);
            let rest = self.shared.plan.rest;
            std::thread::sleep(match answer.saga() {
                Some(_) => rest,
                None => rest.max(PAUSE),
            });
            if matches!(answer, Answer::Completed { .. }) {
                self.succeeded.push(pair);
            }
            calls.push(Call { pair, answer });
        }
        calls
    }

    /// Counts as in a call from here on, unless the load is paused: then after that. The order makes
    /// sure that whoever pauses it either sees this caller in a call or holds it up.
    fn begin(&self) {
        loop {
            self.shared.in_calls.fetch_add(1, Ordering::SeqCst);
            let goes_on = !self.shared.is_paused.load(Ordering::SeqCst);
            if goes_on || self.shared.stop.load(Ordering::Relaxed) {
                return;
            }
            self.shared.in_calls.fetch_sub(1, Ordering::SeqCst);
            std::thread::sleep(PAUSE);
        }
    }

    fn pair(&mut self) -> Pair {
        let repeat = self.random.random_range(0..100) < self.shared.plan.repeats_per_cent;
        if repeat && !self.succeeded.is_empty() {
            let index = self.random.random_range(0..self.succeeded.len());
            return self.succeeded[index];
        }
        self.next_user += 1;
        Pair {
            user: self.next_user,
            ticket: self.random.random_range(0..1000),
        }
    }

    fn call(&mut self, pair: Pair) -> Answer {
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(self.shared.address),
        };
        let Ok(mut connection) = connection else {
            return Answer::Lost;
        };
        let body = json!({"userId": pair.user, "ticketId": pair.ticket}).to_string();
        let Ok(response) = connection.post("/regist/trans", &body) else {
            return Answer::Lost;
        };
        self.connection = Some(connection);
        Answer::of(&response)
    }
}

fn saga_of(holder: &Value, response: &Response) -> Uuid {
    let id = holder["sagaId"].as_str().and_then(|id| id.parse().ok());
    id.unwrap_or_else(|| panic!("no sagaId in the answer: {response:?}"))
}
