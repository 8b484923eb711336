//! Why a batch of events was not handled. The error carries the decision what happens next.

use std::error::Error;

use events::MessageType;

type Source = Box<dyn Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The database is away, or not as it was deployed. The batch is held and tried again until that
    /// is over; no event's attempts are used up.
    #[error("the database is away")]
    Unavailable(#[source] Source),
    /// One of these sagas was decided meanwhile, by another replica, or before, when the batch was
    /// decided unread. What is stored is loaded and the batch is decided again, at once.
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

/// The handling of a compensating step failed. Until it is done, what its saga was refused still
/// stands, and its caller has heard nothing; once it is dead-lettered, an operator has to mend the
/// cause and put it back (`dlq requeue`).
#[derive(Debug, thiserror::Error)]
#[error("the undo on {on} failed, and what it takes back still stands")]
pub struct UndoFailure {
    on: MessageType,
    #[source]
    failure: Failure,
}

impl UndoFailure {
    pub fn new(on: MessageType, failure: Failure) -> Self {
        Self { on, failure }
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
/// Faults of the deployment, such as a lost GRANT or a dropped table: our SQL is fixed text, so no
/// event can cause them, and no event may be parked for them. 26 prepared statement, 3F no such
/// schema, 42 syntax, access, or no such table; in SQLite error, corrupt, no database.
const POSTGRES_UNFIT: [&str; 3] = ["26", "3F", "42"];
const SQLITE_UNFIT: [i32; 3] = [1, 11, 26];

/// Whose fault an error of the database is.
enum Fault {
    Away,
    Unfit,
    Conflict,
    Events,
}

impl Fault {
    fn of(error: &sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Io(_)
            | E::Tls(_)
            | E::Protocol(_)
            | E::PoolTimedOut
            | E::PoolClosed
            | E::WorkerCrashed => Self::Away,
            E::Database(reported) => match reported.code().as_deref() {
                Some(code) if POSTGRES_CONFLICTS.contains(&code) => Self::Conflict,
                Some(code) if is_away(code) => Self::Away,
                Some(code) if is_unfit(code) => Self::Unfit,
                _ => Self::Events,
            },
            _ => Self::Events,
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match Fault::of(&error) {
            Fault::Away | Fault::Unfit => Self::Unavailable(error.into()),
            Fault::Conflict => Self::Conflict,
            Fault::Events => Self::Handling(error.into()),
        }
    }
}

/// Whether the same statement may succeed later although nobody mends anything.
pub(crate) fn passes(error: &sqlx::Error) -> bool {
    matches!(Fault::of(error), Fault::Away | Fault::Conflict)
}

fn is_away(code: &str) -> bool {
    is_one_of(code, &POSTGRES_AWAY, &SQLITE_AWAY)
}

fn is_unfit(code: &str) -> bool {
    is_one_of(code, &POSTGRES_UNFIT, &SQLITE_UNFIT)
}

/// SQLSTATEs have five characters; SQLite's codes are decimal numbers whose low byte is primary.
fn is_one_of(code: &str, postgres: &[&str], sqlite: &[i32]) -> bool {
    if code.len() == 5 {
        return postgres.iter().any(|class| code.starts_with(class));
    }
    code.parse::<i32>()
        .is_ok_and(|code| sqlite.contains(&(code & 0xff)))
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
    use sqlx::{Connection, SqliteConnection};

    use super::*;

    #[test]
    fn a_server_that_is_away_is_told_from_data_that_is_wrong() {
        for code in ["08006", "57P01", "53300", "25006", "5", "13", "778"] {
            assert!(is_away(code), "{code}");
        }
        for code in ["23505", "22003", "19", "2067"] {
            assert!(!is_away(code) && !is_unfit(code), "{code}");
        }
    }

    #[tokio::test]
    async fn a_fault_of_the_deployment_is_no_events_fault() {
        for code in ["42P01", "42501", "3F000", "26000", "1", "11", "26"] {
            assert!(is_unfit(code), "{code}");
        }
        let database = SqliteConnection::connect("sqlite::memory:").await;
        let mut database = database.unwrap();
        let query = sqlx::query("SELECT * FROM dropped").execute(&mut database);
        let error = query.await.unwrap_err();
        assert!(!passes(&error), "a migration that meets it is not repeated");
        assert!(matches!(Failure::from(error), Failure::Unavailable(_)));
    }
}
