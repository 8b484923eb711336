//! Reads the three services' databases, PostgreSQL or SQLite, for the audit.

use sqlx::{Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use super::{LiveRegistration, LiveTicket, World};

/// Both databases give ids as text in these, whatever type they store them in.
const TICKETS: &str =
    "SELECT CAST(id AS text), CAST(saga_id AS text) FROM user_ticket WHERE deleted_at IS NULL";
const REGISTRATIONS: &str = "SELECT CAST(user_ticket_id AS text), CAST(saga_id AS text), \
     user_id, ticket_id FROM regist WHERE deleted_at IS NULL";
const DECISIONS: &str = "SELECT CAST(saga_id AS text) FROM decision";
const LEDGER: &str = "SELECT CAST(saga_id AS text), status FROM saga";

/// Where each service keeps its data: three URLs, `postgres://…` or `sqlite://…`.
#[derive(Debug, Clone)]
pub struct Databases {
    pub ticket: String,
    pub regist: String,
    pub gateway: String,
}

impl Databases {
    /// Everything that the audit looks at. The services may be running.
    pub fn read(&self) -> World {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let world = match self.ticket.starts_with("postgres") {
            true => runtime.block_on(self.read_postgres()),
            false => runtime.block_on(self.read_sqlite()),
        };
        world.unwrap_or_else(|error| panic!("cannot read {self:?}: {error}"))
    }
}

type Text = (String,);
type Texts = (String, String);
type Registration = (String, String, i64, i64);

macro_rules! read {
    ($connection:ident, $databases:ident) => {{
        // The later service first: what it knows, an earlier one knew before.
        let mut gateway = $connection::connect(&$databases.gateway).await?;
        let ledger: Vec<Texts> = sqlx::query_as(LEDGER).fetch_all(&mut gateway).await?;
        let mut regist = $connection::connect(&$databases.regist).await?;
        let registrations: Vec<Registration> =
            sqlx::query_as(REGISTRATIONS).fetch_all(&mut regist).await?;
        let mut decided: Vec<Text> = sqlx::query_as(DECISIONS).fetch_all(&mut regist).await?;
        let mut ticket = $connection::connect(&$databases.ticket).await?;
        let tickets: Vec<Texts> = sqlx::query_as(TICKETS).fetch_all(&mut ticket).await?;
        decided.extend(
            sqlx::query_as::<_, Text>(DECISIONS)
                .fetch_all(&mut ticket)
                .await?,
        );
        Ok(world(ledger, registrations, tickets, &decided))
    }};
}

impl Databases {
    async fn read_postgres(&self) -> Result<World, sqlx::Error> {
        read!(PgConnection, self)
    }

    async fn read_sqlite(&self) -> Result<World, sqlx::Error> {
        read!(SqliteConnection, self)
    }
}

fn world(
    ledger: Vec<Texts>,
    registrations: Vec<Registration>,
    tickets: Vec<Texts>,
    decided: &[Text],
) -> World {
    let registration = |(user_ticket, saga, user, ticket): Registration| LiveRegistration {
        user_ticket: id(&user_ticket),
        saga: id(&saga),
        user,
        ticket,
    };
    let ticket = |(own, saga): Texts| LiveTicket {
        id: id(&own),
        saga: id(&saga),
    };
    World {
        tickets: tickets.into_iter().map(ticket).collect(),
        registrations: registrations.into_iter().map(registration).collect(),
        decided: decided.iter().map(|(saga,)| id(saga)).collect(),
        ledger: ledger
            .into_iter()
            .map(|(saga, status)| (id(&saga), status))
            .collect(),
    }
}

fn id(text: &str) -> Uuid {
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is no UUID"))
}
