//! `Prefer` (RFC 7240): how long a caller would wait for the outcome of its saga.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long a caller is kept waiting, and which of its preferences that honours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    pub(super) limit: Duration,
    applied: Vec<String>,
}

impl Patience {
    /// What the caller prefers, as far as the gateway's own limit allows. A preference that is not
    /// understood or goes too far is passed over, as the RFC has it.
    pub(super) fn of(headers: &HeaderMap, limit: Duration) -> Self {
        let wait = preference(headers, "wait")
            .filter(|seconds| seconds.bytes().all(|byte| byte.is_ascii_digit()));
        let wait = wait.and_then(|seconds| seconds.parse().ok());
        let wait = wait.filter(|seconds| Duration::from_secs(*seconds) <= limit);
        let is_async = preference(headers, "respond-async").is_some();
        let mut applied = Vec::new();
        if is_async {
            applied.push("respond-async".to_owned());
        }
        if let Some(seconds) = wait {
            applied.push(format!("wait={seconds}"));
        }
        let limit = match wait {
            Some(seconds) => Duration::from_secs(seconds),
            None if is_async => Duration::ZERO,
            None => limit,
        };
        Self { limit, applied }
    }

    /// Says in the response which preferences were honoured.
    pub(super) fn mark(&self, mut response: Response) -> Response {
        if !self.applied.is_empty() {
            let applied = HeaderValue::from_str(&self.applied.join(", "));
            let applied = applied.expect("words and digits are a header value");
            response.headers_mut().insert(PREFERENCE_APPLIED, applied);
        }
        response
    }
}

/// The value of a preference, empty if it has none; the first counts, and its parameters do not.
fn preference(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(PREFER).into_iter();
    let texts = lines.filter_map(|line| line.to_str().ok());
    texts.flat_map(|text| text.split(',')).find_map(|one| {
        let one = one.split(';').next().unwrap_or(one);
        let (found, value) = one.split_once('=').unwrap_or((one, ""));
        let value = value.trim().trim_matches('"').to_owned();
        found.trim().eq_ignore_ascii_case(name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(lines: &[&'static str]) -> (Duration, String) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, HeaderValue::from_static(line));
        }
        let patience = Patience::of(&headers, Duration::from_secs(10));
        (patience.limit, patience.applied.join(", "))
    }

    #[test]
    fn a_caller_waits_as_long_as_it_prefers_and_no_longer_than_the_limit() {
        let seconds = Duration::from_secs;
        let cases: [(&[&str], _, _); 9] = [
            (&["wait=+5"], seconds(10), ""),
            (&[], seconds(10), ""),
            (&["wait=3"], seconds(3), "wait=3"),
            (&["wait=11"], seconds(10), ""),
            (&["wait=-1", "handling=lenient"], seconds(10), ""),
            (&["respond-async"], seconds(0), "respond-async"),
            (
                &["Respond-Async, WAIT = \"5\"; x=y"],
                seconds(5),
                "respond-async, wait=5",
            ),
            (
                &["respond-async", "wait=2, wait=4"],
                seconds(2),
                "respond-async, wait=2",
            ),
            (&["respond-async, wait=99"], seconds(0), "respond-async"),
        ];
        for (lines, limit, applied) in cases {
            assert_eq!(patience(lines), (limit, applied.to_owned()), "{lines:?}");
        }
    }
}
