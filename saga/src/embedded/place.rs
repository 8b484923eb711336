//! Finds a place in the journal by time. Entries are taken in the order of their positions, so it is
//! found by halving.

use events::Timestamp;
use sqlx::SqliteConnection;

/// An [`Entry`].
const NEXT: &str = "
    SELECT position, taken_at,
           iif(taken_at IS NULL AND json_valid(event), event ->> 'time', NULL) AS time
    FROM journal WHERE position >= ?1 ORDER BY position LIMIT 1";

const ENDS: &str = "
    SELECT (SELECT min(position) FROM journal), (SELECT max(position) FROM journal)";

/// An entry's position, when it was taken, and, if it does not say so, when its event was decided.
pub(super) type Entry = (i64, Option<i64>, Option<String>);

pub(super) fn taken_at((_, taken_at, decided): &Entry) -> Timestamp {
    let decided = || decided.as_ref()?.parse().ok();
    let taken = taken_at.map(Timestamp::from_micros);
    taken.or_else(decided).unwrap_or(Timestamp::EPOCH)
}

/// The position of the last entry; none in an empty journal.
pub(super) async fn end(connection: &mut SqliteConnection) -> Result<Option<i64>, sqlx::Error> {
    let ends: (Option<i64>, Option<i64>) = sqlx::query_as(ENDS).fetch_one(connection).await?;
    Ok(ends.1)
}

/// The position of the first entry that was taken then or later, or of the last one if there is none
/// of the kind; none in an empty journal.
pub(super) async fn at(
    connection: &mut SqliteConnection,
    time: Timestamp,
) -> Result<Option<i64>, sqlx::Error> {
    let ends: (Option<i64>, Option<i64>) = sqlx::query_as(ENDS).fetch_one(&mut *connection).await?;
    let (Some(mut first), Some(mut last)) = ends else {
        return Ok(None);
    };
    while first < last {
        let middle = first + (last - first) / 2;
        let entry: Option<Entry> = sqlx::query_as(NEXT)
            .bind(middle)
            .fetch_optional(&mut *connection)
            .await?;
        match entry {
            Some(entry) if taken_at(&entry) < time => first = (entry.0 + 1).min(last),
            _ => last = middle,
        }
    }
    Ok(Some(first))
}
