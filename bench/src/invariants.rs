//! What has to be true when every saga is over, whatever was measured: checked over what callers
//! were told and what the three databases hold.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use events::MessageType;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::databases::Databases;
use crate::failure::BenchError;
use crate::finished::BOUNDARY;
use crate::load::Book;

/// The last rows of the ledger are not the only ones: how long any other may be late.
const LEDGER_LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What the databases hold.
#[derive(Debug, Default, Clone)]
struct World {
    /// Id and saga of every ticket that is not deleted.
    live_tickets: HashSet<(Uuid, Uuid)>,
    /// Ticket and saga of every registration that is not deleted.
    live_registrations: HashSet<(Uuid, Uuid)>,
    ticket_decisions: i64,
    regist_decisions: i64,
    ledger: Ledger,
}

#[derive(Debug, Default, Clone, Copy)]
struct Ledger {
    sagas: i64,
    over: i64,
    completed: i64,
}

/// What the callers know.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Told {
    sagas: i64,
    open: usize,
    completed: usize,
    contradicted: u64,
    surprising: u64,
}

impl Told {
    pub(crate) fn by(book: &Book) -> Self {
        Self {
            sagas: i64::try_from(book.started).unwrap_or(i64::MAX),
            open: book.open_sagas(),
            completed: book.ended_with(MessageType::RegistrationCompleted),
            contradicted: book.contradicted,
            surprising: book.surprising,
        }
    }
}

/// Reads the databases and checks everything. An empty answer is a good one.
pub(crate) async fn check(databases: &Databases, told: Told) -> Result<Vec<String>, BenchError> {
    let world = World::read(databases, told.sagas).await?;
    Ok(violations(&world, told))
}

impl World {
    async fn read(databases: &Databases, sagas: i64) -> Result<Self, BenchError> {
        let mut ticket = PgConnection::connect(&databases.ticket).await?;
        let mut regist = PgConnection::connect(&databases.regist).await?;
        const TICKETS: &str = "SELECT id, saga_id FROM user_ticket \
            WHERE deleted_at IS NULL AND saga_id > $1";
        const REGISTS: &str = "SELECT user_ticket_id, saga_id FROM regist \
            WHERE deleted_at IS NULL AND saga_id > $1";
        let tickets: Vec<(Uuid, Uuid)> = sqlx::query_as(TICKETS)
            .bind(BOUNDARY)
            .fetch_all(&mut ticket)
            .await?;
        let regists: Vec<(Uuid, Uuid)> = sqlx::query_as(REGISTS)
            .bind(BOUNDARY)
            .fetch_all(&mut regist)
            .await?;
        let world = Self {
            live_tickets: tickets.into_iter().collect(),
            live_registrations: regists.into_iter().collect(),
            ticket_decisions: decisions(&mut ticket).await?,
            regist_decisions: decisions(&mut regist).await?,
            ledger: Ledger::read(&databases.gateway, sagas).await?,
        };
        ticket.close().await?;
        regist.close().await?;
        Ok(world)
    }
}

async fn decisions(connection: &mut PgConnection) -> Result<i64, BenchError> {
    const COUNT: &str = "SELECT count(*) FROM decision WHERE saga_id > $1";
    let counting = sqlx::query_scalar(COUNT).bind(BOUNDARY);
    Ok(counting.fetch_one(connection).await?)
}

impl Ledger {
    /// Reads until all sagas are over in it, or until it had its time.
    async fn read(gateway: &str, sagas: i64) -> Result<Self, BenchError> {
        const COUNT: &str = "SELECT count(*), \
            count(*) FILTER (WHERE status NOT IN ('running', 'compensating')), \
            count(*) FILTER (WHERE status = 'completed') FROM saga WHERE saga_id > $1";
        let mut connection = PgConnection::connect(gateway).await?;
        let since = Instant::now();
        loop {
            let counted: (i64, i64, i64) = sqlx::query_as(COUNT)
                .bind(BOUNDARY)
                .fetch_one(&mut connection)
                .await?;
            let (all, over, completed) = counted;
            if over >= sagas || since.elapsed() > LEDGER_LIMIT {
                connection.close().await?;
                return Ok(Self {
                    sagas: all,
                    over,
                    completed,
                });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

fn violations(world: &World, told: Told) -> Vec<String> {
    let mut found = Vec::new();
    let mut claim = |holds: bool, text: String| {
        if !holds {
            found.push(text);
        }
    };
    let (tickets, registrations) = (&world.live_tickets, &world.live_registrations);
    claim(told.open == 0, format!("{} sagas never ended", told.open));
    claim(
        told.contradicted == 0,
        format!("{} sagas were told two outcomes", told.contradicted),
    );
    claim(
        told.surprising == 0,
        format!("{} sagas ended otherwise than they had to", told.surprising),
    );
    let orphans = tickets.difference(registrations).count();
    claim(
        orphans == 0,
        format!("{orphans} live tickets have no registration"),
    );
    let empty = registrations.difference(tickets).count();
    claim(
        empty == 0,
        format!("{empty} registrations have no live ticket"),
    );
    let live = registrations.len();
    claim(
        told.completed == live,
        format!("{} sagas completed, {live} registrations", told.completed),
    );
    claim(
        usize::try_from(world.ledger.completed) == Ok(live),
        format!(
            "ledger: {} completed, {live} registrations",
            world.ledger.completed
        ),
    );
    for (who, count) in [
        ("the ticket-worker decided", world.ticket_decisions),
        ("the regist-worker decided", world.regist_decisions),
        ("the ledger knows", world.ledger.sagas),
        ("the ledger knows the end of", world.ledger.over),
    ] {
        claim(
            count == told.sagas,
            format!("{who} {count} of {} sagas", told.sagas),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One completed saga, one compensated.
    fn sound() -> (World, Told) {
        let pair = (Uuid::from_u128(1), Uuid::from_u128(2));
        let world = World {
            live_tickets: HashSet::from([pair]),
            live_registrations: HashSet::from([pair]),
            ticket_decisions: 2,
            regist_decisions: 2,
            ledger: Ledger {
                sagas: 2,
                over: 2,
                completed: 1,
            },
        };
        let told = Told {
            sagas: 2,
            completed: 1,
            ..Told::default()
        };
        (world, told)
    }

    #[test]
    fn a_sound_world_violates_nothing() {
        let (world, told) = sound();
        assert_eq!(violations(&world, told), Vec::<String>::new());
    }

    #[test]
    fn a_ticket_without_a_registration_is_found() {
        let (mut world, told) = sound();
        world
            .live_tickets
            .insert((Uuid::from_u128(3), Uuid::from_u128(4)));
        assert_eq!(
            violations(&world, told),
            ["1 live tickets have no registration"]
        );
    }

    #[test]
    fn a_saga_that_the_ledger_shows_as_running_is_found() {
        let (mut world, told) = sound();
        world.ledger.over = 1;
        assert_eq!(
            violations(&world, told),
            ["the ledger knows the end of 1 of 2 sagas"]
        );
    }

    #[test]
    fn what_callers_were_told_has_to_agree() {
        let (world, mut told) = sound();
        (told.open, told.contradicted, told.completed) = (1, 1, 2);
        assert_eq!(violations(&world, told).len(), 3);
    }
}
