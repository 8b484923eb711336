//! Redelivery of every message of finished sagas, in reverse order, changes no row and no outcome,
//! and every repeated reply is the first one to the letter. On both buses and both stores.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api_gateway::LedgerMetrics;
use api_gateway::ledger::projector::Projector;
use events::{
    AddTicket, CancelRegistration, ChangeRegistration, ChangeTicket, Event, EventId, Message,
    MessageType, MessageType as M, PurchaseAndRegister, Register, RemoveTicket, SagaId, TicketId,
    Timestamp, UserId, UserTicketId,
};
use saga::bus::{Bus, Consumer, Health, JournalReader, JournalStart, Queue};
use saga::database::Database;
use saga::embedded::{EmbeddedBus, EmbeddedConfig, JournalRetention};
use saga::participant::LoopOptions;
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig};
use saga::retry::RetryPolicy;
use saga::{SHUTDOWN_LIMIT, Tasks};
use sqlx::Connection;
use system_tests::fresh_database::FreshDatabase;
use tokio::sync::watch;
use tokio::time::timeout;

const INSTANCE: &str = "redelivery-test";
/// Who calls the plain routes.
const USER: UserId = UserId(3);
/// Far longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn command(message: impl Into<Message>, deadline: Timestamp) -> Event {
    let (saga_id, message) = (SagaId::mint(), message.into());
    Event {
        id: Event::id_of(saga_id, message.message_type()),
        source: "api-gateway".into(),
        time: Timestamp::now(),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: Some(INSTANCE.to_owned()),
        deadline: Some(deadline),
        message,
    }
}

fn purchase(user: u64) -> PurchaseAndRegister {
    PurchaseAndRegister {
        user_id: UserId(user),
        ticket_id: TicketId(1),
        user_ticket_id: UserTicketId::mint(),
    }
}

/// Runs sagas one after the other, and counts their messages.
struct Caller<'a> {
    bus: &'a dyn Bus,
    replies: Box<dyn Consumer>,
    /// How many messages each saga has.
    messages: Vec<usize>,
}

impl Caller<'_> {
    /// To its end, which must be this; it has so many messages then.
    async fn run(
        &mut self,
        message: impl Into<Message>,
        end: MessageType,
        messages: usize,
    ) -> Event {
        let deadline = Timestamp::now() + PATIENCE;
        self.run_until(command(message, deadline), end, messages)
            .await
    }

    async fn run_until(&mut self, command: Event, end: MessageType, messages: usize) -> Event {
        self.bus.publish(&[command]).await.unwrap();
        let ended = timeout(PATIENCE, self.replies.receive(1)).await.unwrap();
        let ended = ended[0].event.as_ref().unwrap().clone();
        assert_eq!(ended.message_type(), end);
        self.messages.push(messages);
        ended
    }

    async fn add_ticket(&mut self, ticket: u64) -> UserTicketId {
        let user_ticket_id = UserTicketId::mint();
        let add = AddTicket {
            user_id: USER,
            ticket_id: TicketId(ticket),
            user_ticket_id,
        };
        self.run(add, M::TicketAdded, 2).await;
        user_ticket_id
    }

    async fn register(
        &mut self,
        user_ticket_id: UserTicketId,
        end: MessageType,
        messages: usize,
    ) -> Event {
        let user_id = USER;
        let register = Register {
            user_id,
            user_ticket_id,
        };
        self.run(register, end, messages).await
    }

    async fn change_ticket(&mut self, user_ticket_id: UserTicketId, end: MessageType) {
        let change = ChangeTicket {
            user_id: None,
            ticket_id: Some(TicketId(9)),
            user_ticket_id,
        };
        self.run(change, end, 2).await;
    }

    /// Every way through every kind of saga, but lateness, which all share.
    async fn every_route(&mut self) {
        let (one, two) = (self.add_ticket(1).await, self.add_ticket(2).await);
        let other = self.add_ticket(2).await;
        let registered = self.register(one, M::Registered, 3).await;
        let regist_id = registered.message.particulars().regist_id.unwrap();
        self.register(one, M::RegisterRejected, 2).await;
        self.change_ticket(one, M::TicketChangeRejected).await;
        let change = |user_ticket_id, from| ChangeRegistration {
            regist_id,
            user_id: USER,
            user_ticket_id,
            from,
        };
        self.run(change(two, one), M::OldTicketFreed, 4).await;
        self.register(other, M::TicketReleased, 4).await;
        self.run(change(other, one), M::NewTicketReleased, 4).await;
        self.run(
            change(UserTicketId::mint(), two),
            M::RegistrationChangeRejected,
            2,
        )
        .await;
        let cancel = CancelRegistration {
            regist_id: Some(regist_id),
            user_id: None,
            user_ticket_id: None,
        };
        self.run(cancel.clone(), M::TicketFreed, 3).await;
        self.run(cancel, M::TicketFreed, 3).await;
        self.change_ticket(two, M::TicketChanged).await;
        self.register(one, M::Registered, 3).await;
        for user_ticket_id in [one, one, UserTicketId::mint()] {
            let remove = RemoveTicket {
                user_ticket_id,
                user_id: None,
            };
            self.run(remove, M::TicketRemoved, 3).await;
        }
        self.register(one, M::RegisterRejected, 2).await;
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
            keep_ended: None,
            metrics: LedgerMetrics::default(),
        };
        tasks.spawn("projector", projector.run(tasks.stop_token()));
        Self {
            bus,
            databases,
            tasks,
        }
    }

    /// Sagas of every kind, to each of their ends. How many messages each has.
    async fn run_sagas(&self) -> Vec<usize> {
        let queue = Queue::Replies {
            instance: INSTANCE.to_owned(),
        };
        let mut caller = Caller {
            bus: &*self.bus,
            replies: self.bus.consume(queue).await.unwrap(),
            messages: Vec::new(),
        };
        caller.run(purchase(1), M::RegistrationCompleted, 3).await;
        caller.run(purchase(1), M::TicketDeleted, 4).await;
        let late = command(purchase(2), Timestamp::from_micros(0));
        caller.run_until(late, M::PurchaseRejected, 2).await;
        caller.every_route().await;
        caller.messages
    }

    /// Every row of the workers, and what the ledger tells callers.
    async fn rows(&self) -> Vec<String> {
        const TICKETS: &str = "SELECT concat_ws('|', CAST(id AS text), CAST(created_at AS text), \
            CAST(updated_at AS text), CAST(deleted_at AS text), user_id, ticket_id, \
            CAST(saga_id AS text), CAST(held_by AS text), version) FROM user_ticket ORDER BY 1";
        const REGISTRATIONS: &str = "SELECT concat_ws('|', CAST(id AS text), \
            CAST(created_at AS text), CAST(updated_at AS text), CAST(deleted_at AS text), user_id, \
            CAST(user_ticket_id AS text), ticket_id, CAST(saga_id AS text), \
            CAST(is_tombstone AS text)) FROM regist ORDER BY 1";
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
    let messages = system.run_sagas().await;
    let mut journal = Journal::open(&*system.bus).await;
    let first = journal.next(messages.iter().sum()).await;
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
    let repeated = messages.iter().map(|n| n * (n + 1) / 2).sum();
    let repeated = journal.next(repeated).await;
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
        journal: JournalRetention::default(),
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
