//! The sagas in hand: read from the journal and folded, but not all written yet.
//!
//! Under load a saga that began in the last page is held back once, because most end in the next
//! one, and are then written once instead of twice. The cursor stays before the first event of what
//! is held, so a crash only means reading a page again, which folding does not notice.

use std::collections::HashMap;

use events::choreography::Outcome;
use events::{Event, SagaId};
use saga::bus::JournalPosition;
use saga::failure::chain;
use tracing::error;

use super::{Lease, Projection, Row, UnreadableRow, fold};

/// A page must not keep a thread of the runtime from its other tasks: a fraction of a millisecond.
pub(super) const BREATH: usize = 256;

#[derive(Debug)]
pub struct Desk {
    /// As the ledger has it.
    cursor: Option<JournalPosition>,
    /// Up to here everything is folded.
    folded: Option<JournalPosition>,
    /// Up to here everything is folded and nothing of it is held.
    settled: Option<JournalPosition>,
    /// Ready to be written, and not in the ledger.
    new: Vec<Row>,
    /// Ready to be written, and in the ledger as they were before.
    known: Vec<Row>,
    held: HashMap<SagaId, Row>,
    /// How the sagas ended that did so in what is ready.
    ended: Vec<Outcome>,
}

/// Which sagas to hold back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Nothing,
    /// Those that began in this page: another page follows soon.
    Young,
}

/// Where a saga was before a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Only in hand.
    Held,
    /// In the ledger.
    Stored { ended: bool },
}

/// What the ledger has of the sagas of a page.
#[derive(Debug, Default)]
pub struct Known {
    rows: HashMap<SagaId, Row>,
    /// Left as they are.
    unreadable: Vec<SagaId>,
}

impl Desk {
    /// Begins behind the ledger's cursor.
    pub fn at(cursor: Option<JournalPosition>) -> Self {
        Self {
            cursor,
            folded: cursor,
            settled: cursor,
            new: Vec::new(),
            known: Vec::new(),
            held: HashMap::new(),
            ended: Vec::new(),
        }
    }

    pub fn cursor(&self) -> Option<JournalPosition> {
        self.cursor
    }

    pub fn holds_something(&self) -> bool {
        !self.held.is_empty()
    }

    /// The sagas of these events that have to be loaded: those that are not in hand.
    pub fn wants(&self, events: &[Event]) -> Vec<SagaId> {
        let mut sagas: Vec<SagaId> = events.iter().map(|event| event.saga_id).collect();
        sagas.retain(|saga| !self.held.contains_key(saga));
        sagas.sort_unstable();
        sagas.dedup();
        sagas
    }

    /// Folds the next page, given what the ledger has of what it [wants](Self::wants). What was
    /// ready must be [saved](Self::saved) by now.
    pub async fn fold(&mut self, events: &[Event], known: Known, to: JournalPosition, hold: Hold) {
        let old = std::mem::take(&mut self.held);
        let stored = |row: &Row| Before::Stored {
            ended: row.outcome().is_some(),
        };
        let before: HashMap<SagaId, Before> = (old.keys().map(|id| (*id, Before::Held)))
            .chain(known.rows.iter().map(|(id, row)| (*id, stored(row))))
            .collect();
        let mut sagas: HashMap<SagaId, Option<Row>> = (old.into_iter().chain(known.rows))
            .map(|(id, row)| (id, Some(row)))
            .collect();
        for some in events.chunks(BREATH) {
            for event in some {
                if !known.unreadable.contains(&event.saga_id) {
                    let row = sagas.entry(event.saga_id).or_default();
                    *row = Some(fold(row.take(), event));
                }
            }
            tokio::task::yield_now().await;
        }
        for (saga_id, row) in sagas.into_iter().filter_map(|(id, row)| Some((id, row?))) {
            let (before, outcome) = (before.get(&saga_id), row.outcome());
            if hold == Hold::Young && before.is_none() && outcome.is_none() {
                self.held.insert(saga_id, row);
                continue;
            }
            let had_ended = before == Some(&Before::Stored { ended: true });
            self.ended.extend(outcome.filter(|_| !had_ended));
            match before {
                Some(Before::Stored { .. }) => self.known.push(row),
                Some(Before::Held) | None => self.new.push(row),
            }
        }
        self.settled = if self.held.is_empty() {
            Some(to)
        } else {
            self.folded
        };
        self.folded = Some(to);
        self.sort();
    }

    /// Makes ready what is held.
    pub fn release(&mut self) {
        self.new.extend(self.held.drain().map(|(_, row)| row));
        self.sort();
        self.settled = self.folded;
    }

    /// What to write next.
    pub fn projection<'a>(&'a self, lease: Lease<'a>) -> Projection<'a> {
        Projection {
            new: &self.new,
            known: &self.known,
            from: self.cursor,
            to: self.settled,
            seen: self.folded,
            lease,
        }
    }

    /// The projection is written. Returns how the sagas ended that did so in it.
    pub fn saved(&mut self) -> Vec<Outcome> {
        self.cursor = self.settled;
        self.new.clear();
        self.known.clear();
        std::mem::take(&mut self.ended)
    }

    /// By id, which is by time: what is asked for together lies together, in table and index.
    fn sort(&mut self) {
        self.new.sort_unstable_by_key(|row| row.saga_id);
        self.known.sort_unstable_by_key(|row| row.saga_id);
    }
}

impl Known {
    pub fn of(loaded: Vec<Result<Row, UnreadableRow>>) -> Self {
        let mut known = Self::default();
        for loaded in loaded {
            match loaded {
                Ok(row) => {
                    known.rows.insert(row.saga_id, row);
                }
                Err(problem) => {
                    let (saga_id, error) = (problem.saga_id, chain(&problem));
                    error!(%saga_id, error, "a row of another build is left alone and misses what follows: repair or delete it");
                    known.unreadable.push(saga_id);
                }
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use events::{
        Cause, MessageType, PurchaseAndRegister, PurchaseRejected, Reason, TicketId, Timestamp,
        UserId, UserTicketId,
    };

    use super::*;

    fn begun() -> Event {
        let saga_id = SagaId::mint();
        Event {
            id: Event::id_of(saga_id, MessageType::PurchaseAndRegister),
            source: "api-gateway".into(),
            time: Timestamp::now(),
            saga_id,
            causation_id: None,
            traceparent: None,
            reply_to: None,
            deadline: None,
            message: PurchaseAndRegister {
                user_id: UserId(7),
                ticket_id: TicketId(42),
                user_ticket_id: UserTicketId::mint(),
            }
            .into(),
        }
    }

    fn ended(by: &Event) -> Event {
        let (source, time) = ("ticket-worker", Timestamp::now());
        let message = PurchaseRejected {
            user_id: UserId(7),
            ticket_id: TicketId(42),
            user_ticket_id: UserTicketId::mint(),
            reason: Reason::DEADLINE_EXCEEDED,
        };
        Event::caused(&Cause { by, source, time }, message.into())
    }

    /// How many new and known rows a page writes, and where it leaves the cursor.
    async fn page(desk: &mut Desk, events: &[&Event], to: i64) -> (usize, usize, Option<i64>) {
        let events: Vec<Event> = events.iter().map(|event| (*event).clone()).collect();
        let to = JournalPosition(to);
        desk.fold(&events, Known::default(), to, Hold::Young).await;
        written(desk)
    }

    fn written(desk: &mut Desk) -> (usize, usize, Option<i64>) {
        let lease = Lease {
            owner: "one",
            now: Timestamp::now(),
        };
        let page = desk.projection(lease);
        let (new, known) = (page.new.len(), page.known.len());
        desk.saved();
        (new, known, desk.cursor().map(|position| position.0))
    }

    #[tokio::test]
    async fn a_saga_that_ends_in_the_page_after_its_beginning_is_written_once() {
        let (mut desk, begun) = (Desk::at(None), begun());
        // The cursor stays before what is held.
        assert_eq!(page(&mut desk, &[&begun], 1).await, (0, 0, None));
        assert!(desk.wants(std::slice::from_ref(&begun)).is_empty());
        assert_eq!(page(&mut desk, &[&ended(&begun)], 2).await, (1, 0, Some(2)));
    }

    #[tokio::test]
    async fn a_saga_is_held_for_one_page_and_no_longer() {
        let (mut desk, old, young) = (Desk::at(None), begun(), begun());
        assert_eq!(page(&mut desk, &[&old], 1).await, (0, 0, None));
        assert_eq!(page(&mut desk, &[&young], 2).await, (1, 0, Some(1)));
        assert_eq!(page(&mut desk, &[], 3).await, (1, 0, Some(3)));
        assert!(!desk.holds_something());
    }

    #[tokio::test]
    async fn what_is_held_can_be_released_at_any_time() {
        let (mut desk, begun) = (Desk::at(None), begun());
        assert_eq!(page(&mut desk, &[&begun], 1).await, (0, 0, None));
        desk.release();
        assert_eq!(written(&mut desk), (1, 0, Some(1)));
    }

    #[tokio::test]
    async fn a_saga_that_the_ledger_has_already_is_not_held() {
        let (mut desk, begun) = (Desk::at(None), begun());
        let known = Known::of(vec![Ok(fold(None, &begun))]);
        let events = [begun];
        desk.fold(&events, known, JournalPosition(1), Hold::Young)
            .await;
        assert_eq!(written(&mut desk), (0, 1, Some(1)));
    }
}
