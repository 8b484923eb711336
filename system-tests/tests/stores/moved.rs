//! Registrations that are moved to another ticket while a decision about them waits for its commit.
//! Each queue has a loop of its own, so one process is enough for it.

use events::{
    CancelRegistration, Event, Freed, Message, MessageType, NewTicketHeld, RegistId, RemoveTicket,
    SagaId, TicketHeld, UserTicketId,
};
use regist_worker::decide::RegistDecider;
use saga::database::Database;
use saga::failure::Failure;
use saga::participant::Participant;

use crate::{Case, DECISIONS, REGISTRATIONS, count, decided, event, on_both, regist_worker, types};

/// A case whose user is registered.
struct Registered {
    case: Case,
    id: RegistId,
}

impl Registered {
    async fn of(user: u64, database: &Database) -> Self {
        let case = Case::of(user);
        let replies = regist_worker(database)
            .react(&[case.purchased()])
            .await
            .unwrap();
        let id = replies[0].message.particulars().regist_id.unwrap();
        Self { case, id }
    }

    /// The move of a saga of its own.
    fn to(&self, from: UserTicketId, to: UserTicketId) -> Event {
        let moved = NewTicketHeld {
            regist_id: self.id,
            user_id: self.case.user,
            ticket_id: self.case.ticket,
            user_ticket_id: to,
            from,
        };
        event(SagaId::mint(), moved)
    }

    fn cancel(&self) -> Event {
        let cancel = CancelRegistration {
            regist_id: Some(self.id),
            user_id: None,
            user_ticket_id: None,
        };
        event(SagaId::mint(), cancel)
    }

    /// Moves it as another loop does, at once.
    async fn is_moved(
        &self,
        (from, to): (UserTicketId, UserTicketId),
        database: &Database,
    ) -> SagaId {
        let moved = self.to(from, to);
        let replies = regist_worker(database)
            .react(std::slice::from_ref(&moved))
            .await;
        assert_eq!(types(&replies.unwrap()), [MessageType::RegistrationChanged]);
        moved.saga_id
    }
}

fn remove(user_ticket_id: UserTicketId) -> Event {
    event(
        SagaId::mint(),
        RemoveTicket {
            user_ticket_id,
            user_id: None,
        },
    )
}

/// The batch is decided, then the registration is moved along these tickets, and only then is the
/// batch committed: a conflict that leaves nothing behind. Returns who moved it last.
async fn lost_to_a_move(
    batch: &[Event],
    (regist, tickets): (&Registered, &[UserTicketId]),
    database: &Database,
) -> SagaId {
    let store = regist_worker::store(database);
    let slow = decided(&RegistDecider, &*store, batch).await;
    let mut mover = regist.case.saga;
    for leg in tickets.windows(2) {
        mover = regist.is_moved((leg[0], leg[1]), database).await;
    }
    let before = (
        count(database, REGISTRATIONS).await,
        count(database, DECISIONS).await,
    );
    let lost = store.commit(&slow).await;
    assert!(matches!(lost, Err(Failure::Conflict)), "{lost:?}");
    let after = (
        count(database, REGISTRATIONS).await,
        count(database, DECISIONS).await,
    );
    assert_eq!(
        before, after,
        "nothing is written, not of its neighbour either"
    );
    mover
}

fn freed(reply: &Event) -> Option<Freed> {
    match &reply.message {
        Message::RegistrationCancelled(cancelled) => cancelled.freed,
        other => panic!("{other:?}"),
    }
}

/// To be told that the old ticket is free would leave the new one held for ever.
#[tokio::test]
async fn a_cancellation_of_what_was_moved_meanwhile_conflicts_and_then_frees_the_new_ticket() {
    on_both(&regist_worker::SCHEMA, async |database| {
        let (regist, neighbour) = (
            Registered::of(1, database).await,
            Registered::of(2, database).await,
        );
        let (old, new) = (regist.case.user_ticket, UserTicketId::mint());
        let batch = [regist.cancel(), neighbour.cancel()];
        let mover = lost_to_a_move(&batch, (&regist, &[old, new]), database).await;
        let replies = regist_worker(database).react(&batch).await.unwrap();
        let (ticket, held_by) = (new, mover);
        assert_eq!(freed(&replies[0]), Some(Freed { ticket, held_by }));
        let (ticket, held_by) = (neighbour.case.user_ticket, neighbour.case.saga);
        assert_eq!(freed(&replies[1]), Some(Freed { ticket, held_by }));
        assert_eq!(count(database, REGISTRATIONS).await, 0);
    })
    .await;
}

/// The closing is that of the ticket that is deleted, not to the one it was moved to.
#[tokio::test]
async fn a_ticket_whose_registration_was_moved_meanwhile_is_closed_and_the_new_one_is_not() {
    on_both(&regist_worker::SCHEMA, async |database| {
        let (regist, neighbour) = (
            Registered::of(1, database).await,
            Registered::of(2, database).await,
        );
        let (old, new) = (regist.case.user_ticket, UserTicketId::mint());
        let batch = [remove(old), remove(neighbour.case.user_ticket)];
        lost_to_a_move(&batch, (&regist, &[old, new]), database).await;
        let worker = regist_worker(database);
        worker.react(&batch).await.unwrap();
        assert_eq!(count(database, REGISTRATIONS).await, 1, "the moved one");
        worker.react(&[regist.cancel()]).await.unwrap();
        let held = |user_ticket_id| {
            let (user_id, ticket_id) = (regist.case.user, regist.case.ticket);
            let held = TicketHeld {
                user_id,
                ticket_id,
                user_ticket_id,
            };
            event(SagaId::mint(), held)
        };
        let replies = worker.react(&[held(old), held(new)]).await.unwrap();
        let expected = [MessageType::NotRegistered, MessageType::Registered];
        assert_eq!(types(&replies), expected);
    })
    .await;
}

/// It has the ticket that it had, but another saga holds that ticket for it by now.
#[tokio::test]
async fn what_is_decided_of_a_registration_that_was_moved_there_and_back_conflicts() {
    on_both(&regist_worker::SCHEMA, async |database| {
        for user in 1..=3 {
            let regist = Registered::of(user, database).await;
            let neighbour = Registered::of(user + 10, database).await;
            let (old, new) = (regist.case.user_ticket, UserTicketId::mint());
            let batch = match user {
                1 => [
                    regist.to(old, UserTicketId::mint()),
                    neighbour.to(neighbour.case.user_ticket, UserTicketId::mint()),
                ],
                2 => [regist.cancel(), neighbour.cancel()],
                _ => [remove(old), remove(neighbour.case.user_ticket)],
            };
            let mover = lost_to_a_move(&batch, (&regist, &[old, new, old]), database).await;
            let replies = regist_worker(database).react(&batch).await.unwrap();
            match &replies[0].message {
                Message::RegistrationChanged(changed) => assert_eq!(changed.held_by, mover),
                Message::RegistrationCancelled(cancelled) => {
                    assert_eq!(cancelled.freed.unwrap().held_by, mover);
                }
                Message::RegistrationsClosed(closed) => {
                    assert_eq!(closed.cancelled, Some(regist.id));
                }
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
}
