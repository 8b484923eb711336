//! Why a batch of events was not handled. The error carries the decision what happens next.

use std::error::Error;

type Source = Box<dyn Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A dependency is away. The batch is held and tried again until it is back; no event's
    /// attempts are used up.
    #[error("the database is away")]
    Unavailable(#[source] Source),
    /// Another replica decided one of these sagas in the same moment. What it stored is loaded and
    /// the batch is decided again, at once.
    #[error("another replica was faster")]
    Conflict,
    /// The batch cannot be handled. It is halved until the one event at fault stands alone; that
    /// one goes to a retry tier, and after the last tier to the dead-letter queue.
    #[error("handling failed")]
    Handling(#[source] Source),
}

impl Failure {
    pub fn handling(source: impl Into<Source>) -> Self {
        Self::Handling(source.into())
    }
}

/// PostgreSQL: serialization failure, deadlock. Who repeats the transaction wins or sees who won.
const POSTGRES_CONFLICTS: [&str; 2] = ["40001", "40P01"];
/// PostgreSQL SQLSTATE classes that say "not now" about the server and nothing about the data:
/// 08 connection, 25006 read-only, 28 authorization, 3D no such database, 53 resources,
/// 57 operator intervention, 58 system error.
const POSTGRES_AWAY: [&str; 7] = ["08", "25006", "28", "3D", "53", "57", "58"];
/// SQLite primary result codes that say the same: busy, locked, read-only, I/O error, disk full,
/// cannot open.
const SQLITE_AWAY: [i32; 6] = [5, 6, 8, 10, 13, 14];

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Io(_)
            | E::Tls(_)
            | E::Protocol(_)
            | E::PoolTimedOut
            | E::PoolClosed
            | E::WorkerCrashed => Self::Unavailable(error.into()),
            E::Database(reported) => match reported.code().as_deref() {
                Some(code) if POSTGRES_CONFLICTS.contains(&code) => Self::Conflict,
                Some(code) if is_away(code) => Self::Unavailable(error.into()),
                _ => Self::Handling(error.into()),
            },
            _ => Self::Handling(error.into()),
        }
    }
}

/// SQLSTATEs have five characters; SQLite's codes are decimal numbers whose low byte is primary.
fn is_away(code: &str) -> bool {
    if code.len() == 5 {
        return POSTGRES_AWAY.iter().any(|class| code.starts_with(class));
    }
    code.parse::<i32>()
        .is_ok_and(|code| SQLITE_AWAY.contains(&(code & 0xff)))
}

/// The whole chain of an error on one line: the error, then each of its sources.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_away_is_told_from_data_that_is_wrong() {
        for code in ["08006", "57P01", "53300", "25006", "5", "13", "778"] {
            assert!(is_away(code), "{code}");
        }
        for code in ["23505", "22003", "42P01", "19", "2067", "1"] {
            assert!(!is_away(code), "{code}");
        }
    }
}
