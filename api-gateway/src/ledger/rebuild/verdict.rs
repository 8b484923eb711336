//! What becomes of a row of the ledger that differs from the one that the journal gives.

use events::Timestamp;

use crate::ledger::{Row, UnreadableRow};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The ledger has none: the journal's is written.
    Missing,
    /// The journal's takes its place.
    Different,
    /// The ledger's begins earlier: the journal no longer has the beginning of this saga.
    Keep,
}

/// The verdict on what the ledger has, if anything, given what the journal gives.
pub(super) fn of(there: Option<Result<Row, UnreadableRow>>, built: &Row) -> Verdict {
    match there {
        None => Verdict::Missing,
        Some(Ok(row)) if begins(&row) < begins(built) => Verdict::Keep,
        Some(Ok(_) | Err(_)) => Verdict::Different,
    }
}

/// A row without any message begins never.
fn begins(row: &Row) -> Timestamp {
    let first = row.timeline.entries().first();
    first.map_or(Timestamp::LAST, |entry| entry.time)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use events::{Event, MessageType, PurchaseAndRegister, SagaId, TicketId, UserId, UserTicketId};

    use super::*;
    use crate::ledger::{Timeline, fold};

    fn begun() -> Event {
        let saga_id = SagaId::mint();
        let message = PurchaseAndRegister {
            user_id: UserId(7),
            ticket_id: TicketId(42),
            user_ticket_id: UserTicketId::mint(),
        };
        Event {
            id: Event::id_of(saga_id, MessageType::PurchaseAndRegister),
            source: "api-gateway".into(),
            time: Timestamp::now(),
            saga_id,
            causation_id: None,
            traceparent: None,
            reply_to: None,
            deadline: None,
            message: message.into(),
        }
    }

    #[test]
    fn a_saga_whose_beginning_the_journal_no_longer_has_is_left_alone() {
        let first = begun();
        let later = Event {
            time: first.time + Duration::from_secs(1),
            ..first.clone()
        };
        let (row, built) = (fold(None, &first), fold(None, &later));
        assert_eq!(of(Some(Ok(row)), &built), Verdict::Keep);
    }

    #[test]
    fn a_row_that_is_missing_empty_or_wrong_is_written_over() {
        let built = fold(None, &begun());
        let mut wrong = built.clone();
        wrong.user_id = Some(UserId(8));
        let empty = Row {
            timeline: Timeline::default(),
            ..built.clone()
        };
        let unreadable = UnreadableRow {
            saga_id: built.saga_id,
            source: serde_json::from_str::<u8>("ruined").unwrap_err(),
        };
        assert_eq!(of(None, &built), Verdict::Missing);
        for there in [Ok(wrong), Ok(empty), Err(unreadable)] {
            assert_eq!(of(Some(there), &built), Verdict::Different);
        }
    }
}
