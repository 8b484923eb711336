//! What the journal of the embedded bus lets go, and what it keeps.

use std::sync::Arc;
use std::time::Duration;

use events::choreography::PURCHASE_AND_REGISTER;
use events::{Event, PurchaseAndRegister, SagaId, TicketId, Timestamp, UserId, UserTicketId};
use saga::Tasks;
use saga::bus::{Bus, JournalPosition, JournalStart, Queue, Settlement};
use saga::embedded::{EmbeddedBus, EmbeddedConfig, JournalRetention};
use saga::retry::RetryPolicy;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

/// More than two batches.
const EVENTS: usize = 2_500;

fn event() -> Event {
    let saga_id = SagaId::mint();
    Event {
        id: Event::id_of(saga_id, PURCHASE_AND_REGISTER.start),
        source: "a test".into(),
        time: Timestamp::now(),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: None,
        message: PurchaseAndRegister {
            user_id: UserId(1),
            ticket_id: TicketId(2),
            user_ticket_id: UserTicketId::mint(),
        }
        .into(),
    }
}

struct System {
    folder: TempDir,
    bus: Arc<EmbeddedBus>,
    _tasks: Tasks,
}

impl System {
    /// With so many events in its journal, of which all but the last three are handled.
    async fn with_events(retention: JournalRetention) -> Self {
        let folder = TempDir::new().expect("a folder");
        let config = EmbeddedConfig {
            path: folder.path().join("bus.db"),
            retry: RetryPolicy::default(),
            prefetch: EVENTS,
            journal: retention,
        };
        let tasks = Tasks::new();
        let bus = EmbeddedBus::open(config, &tasks).await.expect("a file");
        let events: Vec<_> = (0..EVENTS).map(|_| event()).collect();
        bus.publish(&events).await.expect("it runs");
        let queue = Queue::Work(&PURCHASE_AND_REGISTER.steps[0]);
        let mut consumer = bus.consume(queue).await.expect("a queue");
        let mut taken = Vec::new();
        while taken.len() < EVENTS {
            taken.extend(consumer.receive(EVENTS).await);
        }
        // The second one is the oldest that somebody still has to handle.
        let done = taken.iter().enumerate().filter(|(place, _)| *place != 1);
        let done = done.map(|(_, delivery)| (delivery.tag, Settlement::Done));
        consumer.settle(done.collect()).await;
        Self {
            folder,
            bus,
            _tasks: tasks,
        }
    }

    async fn positions(&self) -> Vec<i64> {
        let url = format!("sqlite://{}", self.folder.path().join("bus.db").display());
        let mut sql = SqliteConnection::connect(&url).await.expect("a file");
        sqlx::query_scalar("SELECT position FROM journal ORDER BY position")
            .fetch_all(&mut sql)
            .await
            .expect("a select")
    }

    /// What is there once no more than so many are.
    async fn positions_at_most(&self, count: usize) -> Vec<i64> {
        let waiting = async {
            loop {
                let positions = self.positions().await;
                if positions.len() <= count {
                    return positions;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        waited.expect("the journal gets no shorter")
    }
}

const NOTHING: JournalRetention = JournalRetention {
    max_age: Duration::ZERO,
    max_bytes: 0,
};

#[tokio::test]
async fn what_is_old_goes_but_not_what_a_reader_or_a_queue_still_needs() {
    let system = System::with_events(NOTHING).await;
    // As long as nobody reads, nothing is known to be kept elsewhere.
    let mut reader = system.bus.read_journal(JournalStart::First).await.unwrap();
    while reader.read(EVENTS).await.position.0 < EVENTS as i64 {}
    assert_eq!(system.positions().await.len(), EVENTS, "read and not kept");

    reader.keep_after(JournalPosition(2_000));
    let left = system.positions_at_most(501).await;
    assert_eq!(left[0], 2, "a queue owes it");
    assert_eq!(left[1..], (2_001..=2_500).collect::<Vec<_>>());

    reader.keep_after(JournalPosition(2_500));
    let left = system.positions_at_most(2).await;
    assert_eq!(left, [2, 2_500], "the last entry tells where the end is");
    let end = system.bus.journal_end().await.unwrap();
    assert_eq!(end, Some(JournalPosition(2_500)));
}

#[tokio::test]
async fn what_is_too_much_goes_although_it_is_young() {
    let retention = JournalRetention {
        max_age: Duration::from_secs(3_600),
        max_bytes: 600_000,
    };
    let system = System::with_events(retention).await;
    let mut reader = system.bus.read_journal(JournalStart::First).await.unwrap();
    reader.keep_after(JournalPosition(2_500));
    let left = system.positions_at_most(EVENTS / 2).await;
    assert!(left.len() > 400, "and no more than that: {}", left.len());
}

#[tokio::test]
async fn what_is_young_and_little_stays() {
    let system = System::with_events(JournalRetention::default()).await;
    let mut reader = system.bus.read_journal(JournalStart::First).await.unwrap();
    reader.keep_after(JournalPosition(2_500));
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(system.positions().await.len(), EVENTS);
}
