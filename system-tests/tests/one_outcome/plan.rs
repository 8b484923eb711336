//! Who asks for what, with which key, and who hangs up: chosen before the first request is sent, so
//! that a seed repeats it.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;
use system_tests::load::Pair;
use system_tests::seed::random;

const REPEATED_KEYS: f64 = 0.3;
const CUT_OFF: f64 = 0.1;
/// Of the new keys: another order of a user who has ordered the same before, to be refused.
const REPEATED_PAIRS: f64 = 0.2;
/// Half of the repetitions are of a key so recent that its first request may still be on its way.
const RECENT: usize = 40;

pub(crate) struct Plan {
    pub(crate) requests: Vec<Request>,
    /// By key.
    pub(crate) pairs: Vec<Pair>,
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) key: usize,
    pub(crate) cut: Option<Cut>,
}

/// The client closes the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// After this part of the bytes.
    Within(f64),
    /// When all is sent, and after so many milliseconds.
    BeforeTheAnswer(u64),
}

impl Plan {
    pub(crate) fn of(requests: usize, seed: u64) -> Self {
        let mut random = random(seed);
        let mut plan = Self {
            requests: Vec::with_capacity(requests),
            pairs: Vec::new(),
            seed,
        };
        for _ in 0..requests {
            let key = plan.key(&mut random);
            let cut = random.random_bool(CUT_OFF).then(|| cut(&mut random));
            plan.requests.push(Request { key, cut });
        }
        plan
    }

    fn key(&mut self, random: &mut StdRng) -> usize {
        let known = self.pairs.len();
        if known > 0 && random.random_bool(REPEATED_KEYS) {
            let recent = match random.random_bool(0.5) {
                true => known.saturating_sub(RECENT),
                false => 0,
            };
            return random.random_range(recent..known);
        }
        let pair = match known > 0 && random.random_bool(REPEATED_PAIRS) {
            true => self.pairs[random.random_range(0..known)],
            false => Pair {
                user: known as u64,
                ticket: random.random_range(0..10),
            },
        };
        self.pairs.push(pair);
        known
    }

    /// The bytes of a request with this key.
    pub(crate) fn bytes(&self, key: usize) -> Vec<u8> {
        let (pair, seed) = (self.pairs[key], self.seed);
        let body = json!({"userId": pair.user, "ticketId": pair.ticket}).to_string();
        let length = body.len();
        format!(
            "POST /regist/trans HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n\
             idempotency-key: \"{seed}-{key}\"\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

fn cut(random: &mut StdRng) -> Cut {
    match random.random_bool(0.5) {
        true => Cut::Within(random.random_range(0.0..1.0)),
        false => Cut::BeforeTheAnswer(random.random_range(0..20)),
    }
}
