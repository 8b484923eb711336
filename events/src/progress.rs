//! Where a saga stands, folded from its messages. A pure function of the table and of the messages
//! seen so far; their order and repetition do not matter.

use crate::choreography::{Outcome, Role, Saga, Step};
use crate::{MessageType, Timestamp};

/// Where a saga stands.
#[derive(Debug)]
pub enum Progress {
    /// Waits for `step` since its message was published.
    Waiting {
        step: &'static Step,
        since: Timestamp,
    },
    /// Over, since the ending event was published.
    Ended { outcome: Outcome, at: Timestamp },
    /// Only messages have been seen that neither start nor continue the saga.
    Unknown,
}

/// Whether a saga is running, how it ended, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Steps are going forward.
    Running,
    /// A step refused; what was done is being undone.
    Compensating,
    Completed,
    Rejected,
    Compensated,
}

impl Status {
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Compensating,
        Self::Completed,
        Self::Rejected,
        Self::Compensated,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Compensated => "compensated",
        }
    }

    pub fn is_final(self) -> bool {
        !matches!(self, Self::Running | Self::Compensating)
    }
}

impl From<Outcome> for Status {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed => Self::Completed,
            Outcome::Rejected => Self::Rejected,
            Outcome::Compensated => Self::Compensated,
        }
    }
}

impl Progress {
    /// Folds the messages seen of one saga, each with the time its publisher decided it.
    pub fn of(saga: &'static Saga, seen: &[(MessageType, Timestamp)]) -> Self {
        let time_of = |wanted| seen.iter().find(|(m, _)| *m == wanted).map(|(_, at)| *at);
        let end = saga
            .ends
            .iter()
            .filter_map(|end| Some((end.outcome, time_of(end.on)?)));
        if let Some((outcome, at)) = end.min_by_key(|(_, at)| *at) {
            return Self::Ended { outcome, at };
        }
        let mut open = saga.steps.iter().filter_map(|step| {
            let since = time_of(step.on)?;
            step.outputs()
                .all(|output| time_of(output).is_none())
                .then_some((step, since))
        });
        // The latest row of the table wins: an undo that waits says more than what it undoes.
        open.next_back()
            .map_or(Self::Unknown, |(step, since)| Self::Waiting { step, since })
    }

    pub fn status(&self) -> Status {
        match self {
            Self::Ended { outcome, .. } => (*outcome).into(),
            Self::Waiting { step, .. } if matches!(step.role, Role::Undo { .. }) => {
                Status::Compensating
            }
            Self::Waiting { .. } | Self::Unknown => Status::Running,
        }
    }

    /// Whether the step waited for has taken longer than the table allows.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        matches!(self, Self::Waiting { step, since } if now.since(*since) > step.within)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::MessageType as M;
    use crate::choreography::PURCHASE_AND_REGISTER;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn progress(seen: &[M]) -> Progress {
        let timed: Vec<_> = (0..)
            .zip(seen)
            .map(|(second, m)| (*m, at(second)))
            .collect();
        Progress::of(&PURCHASE_AND_REGISTER, &timed)
    }

    #[test]
    fn each_prefix_of_a_compensated_saga_has_its_status() {
        let path = [
            M::PurchaseAndRegister,
            M::TicketPurchased,
            M::RegistrationFailed,
            M::TicketDeleted,
        ];
        let statuses: Vec<_> = (1..=4).map(|n| progress(&path[..n]).status()).collect();
        use Status::{Compensated, Compensating, Running};
        assert_eq!(statuses, [Running, Running, Compensating, Compensated]);
    }

    #[test]
    fn the_step_waited_for_is_the_one_whose_message_has_no_answer() {
        let Progress::Waiting { step, since } =
            progress(&[M::PurchaseAndRegister, M::TicketPurchased])
        else {
            panic!("the saga waits")
        };
        assert_eq!(
            (step.queue().as_str(), since),
            ("regist-worker.TicketPurchased", at(1))
        );
    }

    #[test]
    fn a_step_is_overdue_after_its_limit_and_not_before() {
        let waiting = progress(&[M::PurchaseAndRegister]);
        assert!(!waiting.is_overdue(at(5)));
        assert!(waiting.is_overdue(at(5) + Duration::from_micros(1)));
    }

    #[test]
    fn order_and_repetition_of_messages_do_not_matter() {
        let seen = [
            (M::RegistrationCompleted, at(2)),
            (M::PurchaseAndRegister, at(0)),
            (M::TicketPurchased, at(1)),
            (M::PurchaseAndRegister, at(0)),
        ];
        assert_eq!(
            Progress::of(&PURCHASE_AND_REGISTER, &seen).status(),
            Status::Completed
        );
        assert_eq!(
            progress(&[M::RegistrationCompleted]).status(),
            Status::Completed
        );
    }
}
