//! Callers that take the next request of the plan, send it to the next gateway, or hang up on it, and
//! keep what they were told. A gateway that takes no connection is passed over for another.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use system_tests::http::{Connection, Response};
use system_tests::load::Answer;
use system_tests::process::wait_until;

use crate::LIMIT;
use crate::plan::{Cut, Plan, Request};

const CALLERS: usize = 32;
/// Before a gateway is asked again that was away, or said that it cannot now.
const PAUSE: Duration = Duration::from_millis(50);

/// What a caller was told about a key.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) key: usize,
    pub(crate) answer: Answer,
    pub(crate) body: String,
}

pub(crate) struct Sending {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<Vec<Told>>>,
    pub(crate) told: Vec<Told>,
}

struct Shared {
    requests: Vec<(Request, Vec<u8>)>,
    gateways: Vec<SocketAddr>,
    next: AtomicUsize,
    cut: AtomicUsize,
}

impl Sending {
    pub(crate) fn start(plan: &Plan, gateways: &[SocketAddr]) -> Self {
        let bytes = |request: &Request| (*request, plan.bytes(request.key));
        let shared = Arc::new(Shared {
            requests: plan.requests.iter().map(bytes).collect(),
            gateways: gateways.to_vec(),
            next: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
        });
        let caller = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || Caller::new(shared).work())
        };
        Self {
            callers: (0..CALLERS).map(caller).collect(),
            shared,
            told: Vec::new(),
        }
    }

    /// Waits until so many requests were begun.
    pub(crate) fn wait_for(&self, requests: usize) {
        wait_until("sending", LIMIT, || {
            self.shared.next.load(Ordering::Relaxed) >= requests
        });
    }

    pub(crate) fn finish(&mut self) {
        for caller in std::mem::take(&mut self.callers) {
            self.told.extend(caller.join().expect("no caller panics"));
        }
    }

    /// Asks every gateway for every key until it tells an outcome.
    pub(crate) fn ask_again(&mut self, plan: &Plan, limit: Duration) -> Vec<Told> {
        let mut told = Vec::new();
        for &gateway in &self.shared.gateways {
            let mut connection = Connection::open(gateway).expect("it runs");
            for key in 0..plan.pairs.len() {
                told.push(outcome(&mut connection, key, &plan.bytes(key), limit));
            }
        }
        told
    }

    /// What became of the requests.
    pub(crate) fn summary(&self) -> String {
        let mut counts = BTreeMap::new();
        for told in &self.told {
            let kind = match &told.answer {
                Answer::Completed { .. } => "200".to_owned(),
                Answer::Refused { .. } => "409".to_owned(),
                Answer::Taken { .. } => "202".to_owned(),
                Answer::NotTaken { status, .. } => status.to_string(),
                Answer::Lost => "lost with the gateway".to_owned(),
            };
            *counts.entry(kind).or_insert(0) += 1;
        }
        let cut = self.shared.cut.load(Ordering::Relaxed);
        format!(
            "{} requests, {cut} cut off, {counts:?}",
            self.shared.requests.len()
        )
    }
}

/// Sends the request until its answer is an outcome.
fn outcome(connection: &mut Connection, key: usize, bytes: &[u8], limit: Duration) -> Told {
    let since = Instant::now();
    loop {
        let response = connection.send(bytes).expect("nothing is killed any more");
        if matches!(response.status, 200 | 409) {
            return told(key, &response);
        }
        let may_yet_come = matches!(response.status, 202 | 503) && since.elapsed() < limit;
        assert!(may_yet_come, "key {key}: {response:?}");
        std::thread::sleep(PAUSE);
    }
}

fn told(key: usize, response: &Response) -> Told {
    Told {
        key,
        answer: Answer::of(response),
        body: response.body.clone(),
    }
}

struct Caller {
    shared: Arc<Shared>,
    /// By gateway.
    connections: Vec<Option<Connection>>,
}

impl Caller {
    fn new(shared: Arc<Shared>) -> Self {
        let connections = shared.gateways.iter().map(|_| None).collect();
        Self {
            shared,
            connections,
        }
    }

    fn work(mut self) -> Vec<Told> {
        let shared = Arc::clone(&self.shared);
        let mut all = Vec::new();
        loop {
            let number = shared.next.fetch_add(1, Ordering::Relaxed);
            let Some((request, bytes)) = shared.requests.get(number) else {
                return all;
            };
            match request.cut {
                Some(cut) => self.hang_up(number, bytes, cut),
                None => all.push(self.call(number, request.key, bytes)),
            }
        }
    }

    /// A connection that breaks while the answer is waited for is not tried again: that is what the
    /// client of a killed gateway sees.
    fn call(&mut self, number: usize, key: usize, bytes: &[u8]) -> Told {
        let (gateway, mut connection) = self.connection(number);
        match connection.send(bytes) {
            Ok(response) => {
                self.connections[gateway] = Some(connection);
                told(key, &response)
            }
            Err(_) => Told {
                key,
                answer: Answer::Lost,
                body: String::new(),
            },
        }
    }

    /// An open connection to the gateway whose turn it is, or to one that is there.
    fn connection(&mut self, number: usize) -> (usize, Connection) {
        let since = Instant::now();
        for turn in number.. {
            let gateway = turn % self.shared.gateways.len();
            let open = self.connections[gateway].take().map(Ok);
            let open = open.unwrap_or_else(|| Connection::open(self.shared.gateways[gateway]));
            match open {
                Ok(connection) => return (gateway, connection),
                Err(error) => assert!(since.elapsed() < LIMIT, "no gateway is there: {error}"),
            }
            std::thread::sleep(PAUSE);
        }
        unreachable!("there is always another turn")
    }

    fn hang_up(&self, number: usize, bytes: &[u8], cut: Cut) {
        let gateways = &self.shared.gateways;
        // A gateway that is gone cuts the request off as well.
        if let Ok(mut stream) = TcpStream::connect(gateways[number % gateways.len()]) {
            let (sent, pause) = match cut {
                Cut::Within(part) => ((bytes.len() as f64 * part) as usize, 0),
                Cut::BeforeTheAnswer(millis) => (bytes.len(), millis),
            };
            drop(stream.write_all(&bytes[..sent]));
            std::thread::sleep(Duration::from_millis(pause));
        }
        self.shared.cut.fetch_add(1, Ordering::Relaxed);
    }
}
