//! Redelivery of every message of finished sagas, in reverse order, changes no row and no outcome,
//! and every repeated reply is the first one to the letter. On both buses and both stores.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api_gateway::LedgerMetrics;
use api_gateway::ledger::projector::Projector;
use events::choreography::PURCHASE_AND_REGISTER;
use events::{
    Event, EventId, MessageType, PurchaseAndRegister, SagaId, TicketId, Timestamp, UserId,
    UserTicketId,
};
use saga::bus::{Bus, Health, JournalReader, JournalStart, Queue};
use saga::database::Database;
use saga::embedded::{EmbeddedBus, EmbeddedConfig};
use saga::participant::LoopOptions;
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig};
use saga::retry::RetryPolicy;
use saga::{SHUTDOWN_LIMIT, Tasks};
use sqlx::Connection;
use system_tests::fresh_database::FreshDatabase;
use tokio::sync::watch;
use tokio::time::timeout;

const INSTANCE: &str = "redelivery-test";
/// Far longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn purchase(user: u64, deadline: Timestamp) -> Event {
    let saga_id = SagaId::mint();
    let (user_id, ticket_id) = (UserId(user), TicketId(1));
    Event {
        id: Event::id_of(saga_id, MessageType::PurchaseAndRegister),
        source: "api-gateway".into(),
        time: Timestamp::now(),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: Some(INSTANCE.to_owned()),
        deadline: Some(deadline),
        message: PurchaseAndRegister {
            user_id,
            ticket_id,
            user_ticket_id: UserTicketId::mint(),
        }
        .into(),
    }
}

struct System {
    bus: Arc<dyn Bus>,
    databases: [FreshDatabase; 3],
    tasks: Tasks,
}

impl System {
    async fn start(bus: Arc<dyn Bus>, databases: [FreshDatabase; 3], tasks: Tasks) -> Self {
        let [ticket, regist, gateway] =
            [0, 1, 2].map(|n| Database::open(databases[n].url(), "redelivery-test").unwrap());
        let options = LoopOptions::default();
        ticket_worker::start(&bus, &ticket, &options, &tasks)
            .await
            .unwrap();
        regist_worker::start(&bus, &regist, &options, &tasks)
            .await
            .unwrap();
        gateway
            .prepare("api-gateway", &api_gateway::SCHEMA, &tasks)
            .await
            .unwrap();
        let projector = Projector {
            health: watch::Sender::new(Health::Up),
            bus: Arc::clone(&bus),
            ledger: api_gateway::ledger(&gateway),
            owner: INSTANCE.to_owned(),
            metrics: LedgerMetrics::default(),
        };
        tasks.spawn("projector", projector.run(tasks.stop_token()));
        Self {
            bus,
            databases,
            tasks,
        }
    }

    /// One saga that completes, one that is compensated, one that is rejected; to their ends.
    async fn run_three_sagas(&self) {
        let queue = Queue::Replies {
            instance: INSTANCE.to_owned(),
        };
        let mut replies = self.bus.consume(queue).await.unwrap();
        let (later, past) = (Timestamp::now() + PATIENCE, Timestamp::from_micros(0));
        for command in [purchase(1, later), purchase(1, later), purchase(2, past)] {
            self.bus.publish(&[command]).await.unwrap();
            let ended = timeout(PATIENCE, replies.receive(1)).await.unwrap();
            let ended = ended[0].event.as_ref().unwrap().message_type();
            assert!(PURCHASE_AND_REGISTER.outcome_of(ended).is_some());
        }
    }

    /// Every row of the workers, and what the ledger tells callers.
    async fn rows(&self) -> Vec<String> {
        const TICKETS: &str = "SELECT concat_ws('|', CAST(id AS text), CAST(created_at AS text), \
            CAST(updated_at AS text), CAST(deleted_at AS text), user_id, ticket_id, \
            CAST(saga_id AS text)) FROM user_ticket ORDER BY 1";
        const REGISTRATIONS: &str = "SELECT concat_ws('|', CAST(id AS text), \
            CAST(created_at AS text), CAST(updated_at AS text), CAST(deleted_at AS text), user_id, \
            CAST(user_ticket_id AS text), ticket_id, CAST(saga_id AS text)) FROM regist ORDER BY 1";
        const DECISIONS: &str = "SELECT concat_ws('|', CAST(saga_id AS text), step_type, \
            CAST(step_data AS text), CAST(step_at AS text), undo_type, CAST(undo_data AS text), \
            CAST(undo_at AS text)) FROM decision ORDER BY 1";
        const LEDGER: &str = "SELECT concat_ws('|', CAST(saga_id AS text), status, reason, \
            CAST(timeline AS text)) FROM saga ORDER BY 1";
        let [ticket, regist, gateway] = [0, 1, 2].map(|n| self.databases[n].url());
        let queries = [
            (ticket, TICKETS),
            (ticket, DECISIONS),
            (regist, REGISTRATIONS),
            (regist, DECISIONS),
            (gateway, LEDGER),
        ];
        let mut rows = Vec::new();
        for (url, query) in queries {
            rows.extend(strings(url, query).await);
        }
        rows
    }

    /// Waits until the ledger has projected the journal up to here.
    async fn projected(&self, journal: &Journal) {
        let query = "SELECT CAST(position AS text) FROM ledger_cursor";
        let done = async {
            while strings(self.databases[2].url(), query)
                .await
                .first()
                .is_none_or(|position| position.parse::<i64>().unwrap() < journal.position)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, done).await.unwrap();
    }

    async fn stop(self) {
        self.tasks.stop();
        self.bus.close().await;
        self.tasks.join(SHUTDOWN_LIMIT).await.unwrap();
    }
}

async fn strings(url: &str, query: &'static str) -> Vec<String> {
    if url.starts_with("sqlite") {
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        return sqlx::query_scalar(query)
            .fetch_all(&mut connection)
            .await
            .unwrap();
    }
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(query)
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

struct Journal {
    reader: Box<dyn JournalReader>,
    position: i64,
}

impl Journal {
    async fn open(bus: &dyn Bus) -> Self {
        let reader = bus.read_journal(JournalStart::First).await.unwrap();
        Self {
            reader,
            position: 0,
        }
    }

    /// The next events, exactly so many.
    async fn next(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            let page = timeout(PATIENCE, self.reader.read(count)).await.unwrap();
            events.extend(page.entries.into_iter().map(Result::unwrap));
            self.position = page.position.0;
        }
        assert_eq!(
            events.len(),
            count,
            "nothing more than what is accounted for"
        );
        events
    }
}

async fn redelivery_changes_nothing(system: System) {
    system.run_three_sagas().await;
    let mut journal = Journal::open(&*system.bus).await;
    // Completed: 3 messages; compensated: 4; rejected: 2.
    let first = journal.next(3 + 4 + 2).await;
    system.projected(&journal).await;
    let before = system.rows().await;
    let known: HashMap<EventId, Event> = first.iter().map(|e| (e.id, e.clone())).collect();
    for event in first.iter().rev() {
        system
            .bus
            .publish(std::slice::from_ref(event))
            .await
            .unwrap();
    }
    // Each repeated message repeats all that follow from it: a saga of n messages n + (n-1) + … + 1.
    let repeated = journal.next(6 + 10 + 3).await;
    system.projected(&journal).await;
    for event in repeated {
        assert_eq!(
            known.get(&event.id),
            Some(&event),
            "the same reply, to the letter"
        );
    }
    assert_eq!(system.rows().await, before);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redelivery_in_reverse_changes_nothing_on_the_embedded_bus_and_sqlite() {
    let (folder, tasks) = (tempfile::tempdir().unwrap(), Tasks::new());
    let config = EmbeddedConfig {
        path: folder.path().join("bus.db"),
        retry: RetryPolicy::default(),
        prefetch: 100,
    };
    let bus = EmbeddedBus::open(config, &tasks).await.unwrap();
    let databases = [0, 1, 2].map(|_| FreshDatabase::sqlite());
    redelivery_changes_nothing(System::start(bus, databases, tasks).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redelivery_in_reverse_changes_nothing_on_rabbitmq_and_postgresql() {
    let url = std::env::var("TEST_AMQP_URL").expect("run ./test, or set TEST_AMQP_URL");
    let tasks = Tasks::new();
    let config = RabbitMqConfig {
        namespace: format!("redelivery-{}", SagaId::mint().0.simple()),
        ..RabbitMqConfig::new(url, INSTANCE)
    };
    let bus = RabbitMqBus::start(config.clone(), &tasks).unwrap();
    let databases = [
        FreshDatabase::postgres().await,
        FreshDatabase::postgres().await,
        FreshDatabase::postgres().await,
    ];
    redelivery_changes_nothing(System::start(bus, databases, tasks).await).await;
    RabbitMqBus::delete_topology(config).await.unwrap();
}
