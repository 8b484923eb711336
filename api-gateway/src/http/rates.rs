//! How many requests each caller may send in a while: a bucket for each, which empties with every
//! request and fills again steadily. Told to callers as the draft `RateLimit` header fields have it.
//!
//! A bucket is one point in time: when it will be full again. One that is full is forgotten, so
//! memory is bounded by what is sent and, if that is not enough, by [`MOST_BUCKETS`]. Good tokens and
//! addresses have buckets of their own kind each: however many addresses send bad tokens, no bearer of
//! a good one has to share its bucket.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::settings::RateLimit;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Of either kind; some megabytes. Whoever comes when all are in use shares one with the others who
/// do.
const MOST_BUCKETS: usize = 32_768;
/// Looking for buckets that are full again takes a millisecond or so.
const CLEAN_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// Whose bucket it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// The `sub` of its token.
    Subject(Arc<str>),
    /// The address of a caller that is not told apart; of IPv6 the network, as one caller has all
    /// of it.
    Peer(IpAddr),
    /// Those for whom there was no bucket left.
    Others,
}

impl Who {
    pub(super) fn at(address: IpAddr) -> Self {
        Self::Peer(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = u128::from(v6) & !u128::from(u64::MAX);
                IpAddr::V6(network.into())
            }
            v4 => v4,
        })
    }
}

pub(super) struct Rates {
    limit: RateLimit,
    of_subjects: Mutex<Buckets>,
    of_peers: Mutex<Buckets>,
}

#[derive(Default)]
struct Buckets {
    full_at: HashMap<Who, Instant>,
    cleaned_at: Option<Instant>,
}

/// What was left when a request was taken from a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// How long to wait before the next one, if this one was too many.
    pub(super) wait: Option<Duration>,
    left: u32,
    full_in: Duration,
}

impl Rates {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            of_subjects: Mutex::default(),
            of_peers: Mutex::default(),
        }
    }

    pub(super) fn take(&self, who: Who, now: Instant) -> Taken {
        let RateLimit { requests, window } = self.limit;
        let one = window / requests;
        let buckets = match who {
            Who::Subject(_) => &self.of_subjects,
            Who::Peer(_) | Who::Others => &self.of_peers,
        };
        let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.of(who, now);
        let full_in = full_at.saturating_duration_since(now) + one;
        // Divided and multiplied again, a window may have lost some nanoseconds.
        let whole = one * requests;
        if full_in > whole {
            return Taken {
                wait: Some(full_in - whole),
                left: 0,
                full_in: full_in - one,
            };
        }
        *full_at = now + full_in;
        let left = (whole - full_in).as_nanos() / one.as_nanos().max(1);
        Taken {
            wait: None,
            left: u32::try_from(left).unwrap_or(u32::MAX),
            full_in,
        }
    }

    /// Tells the caller what it may, and what is left of it.
    pub(super) fn tell(&self, taken: &Taken, headers: &mut HeaderMap) {
        let RateLimit { requests, window } = self.limit;
        let policy = format!("\"default\";q={requests};w={}", seconds(window));
        let left = format!("\"default\";r={};t={}", taken.left, seconds(taken.full_in));
        for (name, text) in [(POLICY, policy), (LIMIT, left)] {
            let value = HeaderValue::from_str(&text).expect("visible ASCII");
            headers.insert(name, value);
        }
    }
}

/// Whole ones: the fields have no others, and too early would be refused again.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl Buckets {
    fn of(&mut self, who: Who, now: Instant) -> &mut Instant {
        let is_new = !self.full_at.contains_key(&who);
        if is_new && self.full_at.len() >= MOST_BUCKETS {
            self.clean(now);
            if self.full_at.len() >= MOST_BUCKETS {
                return self.full_at.entry(Who::Others).or_insert(now);
            }
        }
        self.full_at.entry(who).or_insert(now)
    }

    fn clean(&mut self, now: Instant) {
        let cleaned = self.cleaned_at.map(|at| now.saturating_duration_since(at));
        if cleaned.is_none_or(|ago| ago >= CLEAN_AT_MOST_EVERY) {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.cleaned_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rates(requests: u32, seconds: u32) -> Rates {
        Rates::new(RateLimit {
            requests,
            window: SECOND * seconds,
        })
    }

    fn who(number: u32) -> Who {
        Who::Peer(IpAddr::V4(number.into()))
    }

    #[test]
    fn a_bucket_gives_its_quota_at_once_and_then_one_after_the_other() {
        let (rates, start) = (rates(5, 10), Instant::now());
        let take = |after: Duration| rates.take(who(1), start + after);
        let left: Vec<u32> = (0..5).map(|_| take(Duration::ZERO).left).collect();
        assert_eq!(left, [4, 3, 2, 1, 0]);
        assert_eq!(take(Duration::ZERO).wait, Some(2 * SECOND));
        assert_eq!(take(SECOND).wait, Some(SECOND));
        assert_eq!(take(2 * SECOND).wait, None);
        assert_eq!(take(2 * SECOND).wait, Some(2 * SECOND));
        assert_eq!(take(60 * SECOND).left, 4, "no more than the quota gathers");
    }

    #[test]
    fn a_quota_that_does_not_divide_the_window_is_whole_too() {
        let (rates, now) = (rates(7, 1), Instant::now());
        let taken = (0..8).map(|_| rates.take(who(1), now).wait.is_none());
        assert_eq!(taken.filter(|taken| *taken).count(), 7);
    }

    #[test]
    fn each_caller_has_its_own_bucket_and_an_ipv6_network_is_one_caller() {
        let (rates, now) = (rates(1, 10), Instant::now());
        let take = |who| rates.take(who, now).wait.is_none();
        let subject = |text: &str| Who::Subject(text.into());
        assert!(take(subject("7")) && take(subject("8")) && !take(subject("7")));
        let at = |text: &str| Who::at(text.parse().expect("an address"));
        assert!(take(at("192.0.2.1")) && take(at("192.0.2.2")));
        assert!(!take(at("::ffff:192.0.2.1")));
        assert!(take(at("2001:db8::1")) && !take(at("2001:db8::2")));
        assert!(take(at("2001:db8:0:1::1")));
    }

    #[test]
    fn the_number_of_buckets_is_bounded_and_who_finds_none_shares_one() {
        let (rates, now) = (rates(2, 10), Instant::now());
        let most = u32::try_from(MOST_BUCKETS).expect("a small number");
        for number in 0..most + 1_000 {
            rates.take(who(number), now);
        }
        assert!(rates.take(who(most + 5_000), now).wait.is_some());
        assert!(rates.take(who(1), now).wait.is_none(), "it has its own");
        let known = || rates.of_peers.lock().expect("no panic").full_at.len();
        assert_eq!(known(), MOST_BUCKETS + 1);
        // When they are full again, they are forgotten.
        let later = now + 20 * SECOND;
        assert!(rates.take(who(most + 5_000), later).wait.is_none());
        assert_eq!(known(), 1);
    }

    #[test]
    fn however_many_addresses_send_bad_tokens_who_has_a_good_one_has_its_own_bucket() {
        let (rates, now) = (rates(1, 3600), Instant::now());
        let most = u32::try_from(MOST_BUCKETS).expect("a small number");
        for number in 0..2 * most {
            rates.take(who(number), now);
        }
        assert!(rates.take(who(3 * most), now).wait.is_some());
        for subject in ["7", "8", "9"] {
            let subject = Who::Subject(subject.into());
            assert!(rates.take(subject, now).wait.is_none());
        }
    }

    #[test]
    fn a_caller_is_told_as_the_draft_has_it() {
        let (rates, now) = (rates(5, 10), Instant::now());
        let mut headers = HeaderMap::new();
        let taken = rates.take(who(1), now);
        rates.tell(&taken, &mut headers);
        assert_eq!(headers[POLICY], "\"default\";q=5;w=10");
        assert_eq!(headers[LIMIT], "\"default\";r=4;t=2");
        assert_eq!(seconds(Duration::from_millis(1)), 1);
    }
}
