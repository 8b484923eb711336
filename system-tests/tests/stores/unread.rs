//! What starts a saga is decided without a look at what is stored, and with one where that was wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use saga::decision::Snapshot;
use ticket_worker::decide::{Effect, Tickets};

use super::*;

/// Counts how often it is read.
struct Counting {
    store: Box<dyn Store<TicketDecider>>,
    reads: Arc<AtomicUsize>,
}

#[async_trait]
impl Store<TicketDecider> for Counting {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Tickets>, Failure> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.store.load(events).await
    }

    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        self.store.commit(changes).await
    }
}

#[tokio::test]
async fn new_purchases_cost_no_read_and_known_ones_beside_them_are_answered_as_before() {
    on_both(&ticket_worker::SCHEMA, async |database| {
        let reads = Arc::new(AtomicUsize::new(0));
        let worker = Worker {
            decider: TicketDecider,
            store: Counting {
                store: ticket_worker::store(database),
                reads: Arc::clone(&reads),
            },
            clock: Moment::now,
        };
        let (bought, undone, new) = (Case::of(1), Case::of(2), Case::of(3));
        let first = worker.react(&[bought.purchase()]).await.unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), 0);
        worker.react(&[undone.failed()]).await.unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), 1, "an undo is read for");

        let batch = [bought, undone, new].map(Case::purchase);
        let replies = worker.react(&batch).await.unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        let late_and_new = [MessageType::TicketDeleted, MessageType::TicketPurchased];
        assert_eq!(
            (&replies[0], &types(&replies)[1..]),
            (&first[0], &late_and_new[..])
        );
        let rows = (
            count(database, TICKETS).await,
            count(database, DECISIONS).await,
        );
        assert_eq!(rows, (2, 3));
    })
    .await;
}

#[tokio::test]
async fn a_batch_of_nothing_is_read_for_and_writes_nothing() {
    // The loop asks so whether the database answers.
    on_both(&ticket_worker::SCHEMA, async |database| {
        let worker = ticket_worker(database);
        assert!(worker.react(&[]).await.unwrap().is_empty());
        database.close().await;
        worker.react(&[]).await.unwrap_err();
    })
    .await;
}
