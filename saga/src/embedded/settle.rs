//! The statements that end a delivery: settled, waiting for another try, parked, or given back.

use events::Timestamp;
use sqlx::SqliteConnection;

use super::request::Settled;
use super::storage::json;
use super::topology::QueueName;

/// How often an event may come back unsettled, because its process died or its consumer went,
/// before it is parked: it is handed out once more than this. The same as on RabbitMQ.
const DELIVERY_LIMIT: i64 = 20;

/// An event that came back this often is handed out while no other such event of its queue is in
/// hand. Whichever of them kills the process thus uses up its own deliveries and not those of its
/// neighbours. One return, which any restart causes, is handled at full speed.
const SUSPECT_AFTER: i64 = 2;

/// Why an event is parked that never failed but never was settled either.
const EXHAUSTED: &str = "handed out again and again, and never settled: \
    the process died or gave up each time it had the event in hand";

const PARK_EXHAUSTED: &str = "
    INSERT INTO dead_letter (queue, position, event, attempts, deliveries, failure,
                             first_failed_at, last_failed_at, requeued)
    SELECT queue, queued.position, event, attempts, deliveries, ?4,
           coalesce(first_failed_at, ?5), ?5, requeued
    FROM json_each(?2) AS returned
    CROSS JOIN queued ON queue = ?1 AND queued.position = returned.value
    CROSS JOIN journal ON journal.position = queued.position
    WHERE deliveries > ?3
    RETURNING event";

const DELETE_EXHAUSTED: &str = "
    DELETE FROM queued WHERE queue = ?1 AND deliveries > ?3
      AND position IN (SELECT value FROM json_each(?2))";

const GIVE_BACK: &str = "
    UPDATE queued SET state = iif(deliveries >= ?3, 'suspect', 'ready')
    WHERE queue = ?1 AND position IN (SELECT value FROM json_each(?2))";

const DELETE: &str = "
    DELETE FROM queued WHERE queue = ?1 AND position IN (SELECT value FROM json_each(?2))";

const RETRY: &str = "
    WITH retried AS MATERIALIZED (
        SELECT value ->> 0 AS position, value ->> 1 AS due_at, value ->> 2 AS failure
        FROM json_each(?2))
    UPDATE queued SET state = 'waiting', attempts = attempts + 1, deliveries = 0,
           due_at = retried.due_at, failure = retried.failure,
           first_failed_at = coalesce(first_failed_at, ?3), last_failed_at = ?3
    FROM retried
    WHERE queue = ?1 AND queued.position = retried.position";

const PARK: &str = "
    INSERT INTO dead_letter (queue, position, event, attempts, deliveries, failure,
                             first_failed_at, last_failed_at, requeued)
    SELECT queue, queued.position, event, attempts + 1, deliveries, parked.value ->> 1,
           coalesce(first_failed_at, ?3), ?3, requeued
    FROM json_each(?2) AS parked
    CROSS JOIN queued ON queue = ?1 AND queued.position = parked.value ->> 0
    CROSS JOIN journal ON journal.position = queued.position";

/// For the test that none of them walks a whole queue.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 6] = [
    PARK_EXHAUSTED,
    DELETE_EXHAUSTED,
    GIVE_BACK,
    DELETE,
    RETRY,
    PARK,
];

/// Events that were in hand are to be handed out again, or are parked when that happened too
/// often; returns the JSON of those.
pub(super) async fn give_back(
    connection: &mut SqliteConnection,
    queue: &QueueName,
    returned: &[i64],
    now: Timestamp,
) -> Result<Vec<String>, sqlx::Error> {
    if returned.is_empty() {
        return Ok(Vec::new());
    }
    let positions = json(&returned);
    let exhausted = sqlx::query_scalar(PARK_EXHAUSTED)
        .bind(&**queue)
        .bind(&positions)
        .bind(DELIVERY_LIMIT)
        .bind(EXHAUSTED)
        .bind(now.as_micros())
        .fetch_all(&mut *connection)
        .await?;
    sqlx::query(DELETE_EXHAUSTED)
        .bind(&**queue)
        .bind(&positions)
        .bind(DELIVERY_LIMIT)
        .execute(&mut *connection)
        .await?;
    sqlx::query(GIVE_BACK)
        .bind(&**queue)
        .bind(&positions)
        .bind(SUSPECT_AFTER)
        .execute(connection)
        .await?;
    Ok(exhausted)
}

/// Settles events that were in hand.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    queue: &QueueName,
    settled: &Settled,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    delete(connection, queue, &settled.done).await?;
    retry(connection, queue, settled, now).await?;
    park(connection, queue, settled, now).await
}

async fn delete(
    connection: &mut SqliteConnection,
    queue: &QueueName,
    done: &[i64],
) -> Result<(), sqlx::Error> {
    if done.is_empty() {
        return Ok(());
    }
    sqlx::query(DELETE)
        .bind(&**queue)
        .bind(json(&done))
        .execute(connection)
        .await?;
    Ok(())
}

async fn retry(
    connection: &mut SqliteConnection,
    queue: &QueueName,
    settled: &Settled,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if settled.retried.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = settled
        .retried
        .iter()
        .map(|retried| {
            (
                retried.position,
                retried.due_at.as_micros(),
                &retried.failure,
            )
        })
        .collect();
    // It was settled, if not well, so it starts a new count of deliveries.
    sqlx::query(RETRY)
        .bind(&**queue)
        .bind(json(&rows))
        .bind(now.as_micros())
        .execute(connection)
        .await?;
    Ok(())
}

async fn park(
    connection: &mut SqliteConnection,
    queue: &QueueName,
    settled: &Settled,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if settled.parked.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = settled
        .parked
        .iter()
        .map(|parked| (parked.position, &parked.failure))
        .collect();
    sqlx::query(PARK)
        .bind(&**queue)
        .bind(json(&rows))
        .bind(now.as_micros())
        .execute(&mut *connection)
        .await?;
    let positions: Vec<_> = settled
        .parked
        .iter()
        .map(|parked| parked.position)
        .collect();
    delete(connection, queue, &positions).await
}
