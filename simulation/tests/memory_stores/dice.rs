//! Batches at random, of messages that meet each other's rows.

use std::collections::VecDeque;

use events::{
    AddTicket, CancelRegistration, ChangeRegistration, ChangeTicket, Event, Freed, Message,
    NewTicketHeld, NotRegistered, PurchaseAndRegister, Reason, RegistId, Register,
    RegistrationCancelled, RegistrationFailed, RegistrationsClosed, RemoveTicket, SagaId,
    TicketHeld, TicketId, TicketPurchased, Timestamp, UserId, UserTicketId,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use saga::decision::Moment;
use uuid::Uuid;

/// More where a saga is one change of what others made: each is decided once.
pub(crate) const CHANGES: u128 = 3_000;
/// A registration is changed soon after something was decided about it, or it is gone.
const LATELY: usize = 12;
/// The tickets that the plain routes are about: few, and some that nobody has.
const TICKETS: u128 = 60;

/// Draws a message of the saga with this number.
pub(crate) type Draw = fn(&mut Dice, u128) -> Message;

pub(crate) struct Dice {
    random: SmallRng,
    sagas: u128,
    /// What was decided of registrations lately: which ticket each has, or was to get.
    lately: VecDeque<(RegistId, UserTicketId)>,
}

impl Dice {
    pub(crate) fn new(sagas: u128) -> Self {
        Self {
            random: SmallRng::seed_from_u64(1),
            sagas,
            lately: VecDeque::new(),
        }
    }

    pub(crate) fn below(&mut self, limit: u128) -> u128 {
        self.random.random_range(0..limit)
    }

    pub(crate) fn learn(&mut self, replies: &[Event]) {
        for reply in replies {
            let told = reply.message.particulars();
            self.lately.extend(told.regist_id.zip(told.user_ticket_id));
        }
        let old = self.lately.len().saturating_sub(LATELY);
        self.lately.drain(..old);
    }

    fn some_regist(&mut self) -> Option<(RegistId, UserTicketId)> {
        let index = self.below(LATELY as u128) as usize;
        self.lately.get(index).copied()
    }

    /// A batch of one kind of message.
    pub(crate) fn batch(&mut self, message: impl Fn(&mut Self, u128) -> Message) -> Vec<Event> {
        let count = 1 + self.below(6);
        let event = |_| {
            let saga = self.below(self.sagas);
            let message = message(self, saga);
            let saga_id = SagaId(Uuid::from_u128(saga));
            Event {
                id: Event::id_of(saga_id, message.message_type()),
                source: "test".into(),
                time: Timestamp::from_micros(0),
                saga_id,
                causation_id: None,
                traceparent: None,
                reply_to: None,
                deadline: Some(Timestamp::from_micros(1_000)),
                message,
            }
        };
        (0..count).map(event).collect()
    }

    pub(crate) fn moment(&mut self) -> Moment {
        Moment {
            // One in five is late.
            now: Timestamp::from_micros(self.random.random_range(0..1_250)),
            fresh_id: Uuid::from_u128(self.random.random()),
        }
    }
}

fn keys(saga: u128) -> (UserId, TicketId) {
    (UserId((saga % 70) as u64), TicketId((saga % 3) as u64))
}

pub(crate) fn purchase(dice: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    // Some sagas claim another one's ticket id.
    let user_ticket = if dice.below(20) == 0 { 0 } else { saga };
    PurchaseAndRegister {
        user_id,
        ticket_id,
        user_ticket_id: UserTicketId(Uuid::from_u128(user_ticket)),
    }
    .into()
}

pub(crate) fn purchased(_: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    TicketPurchased {
        user_id,
        ticket_id,
        user_ticket_id: UserTicketId(Uuid::from_u128(saga)),
    }
    .into()
}

pub(crate) fn refused(_: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    RegistrationFailed {
        user_id,
        ticket_id,
        user_ticket_id: UserTicketId(Uuid::from_u128(saga)),
        reason: Reason::ALREADY_REGISTERED,
    }
    .into()
}

/// A ticket that some saga may have, or one that nobody has.
fn some_ticket(dice: &mut Dice) -> UserTicketId {
    UserTicketId(Uuid::from_u128(dice.below(TICKETS)))
}

fn some_user(dice: &mut Dice) -> UserId {
    keys(dice.below(TICKETS)).0
}

pub(crate) fn change_ticket(dice: &mut Dice, _: u128) -> Message {
    ChangeTicket {
        user_id: Some(some_user(dice)),
        ticket_id: None,
        user_ticket_id: some_ticket(dice),
    }
    .into()
}

pub(crate) fn closed(dice: &mut Dice, _: u128) -> Message {
    RegistrationsClosed {
        user_ticket_id: some_ticket(dice),
        cancelled: None,
    }
    .into()
}

pub(crate) fn register(dice: &mut Dice, _: u128) -> Message {
    let user_ticket_id = some_ticket(dice);
    Register {
        user_id: keys(user_ticket_id.0.as_u128()).0,
        user_ticket_id,
    }
    .into()
}

pub(crate) fn not_registered(dice: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    NotRegistered {
        user_id,
        ticket_id,
        user_ticket_id: some_ticket(dice),
        reason: Reason::ALREADY_REGISTERED,
    }
    .into()
}

/// Whoever bought a ticket holds it at first.
pub(crate) fn cancelled(dice: &mut Dice, _: u128) -> Message {
    let ticket = some_ticket(dice);
    let held_by = SagaId(ticket.0);
    RegistrationCancelled {
        regist_id: None,
        freed: Some(Freed { ticket, held_by }),
    }
    .into()
}

pub(crate) fn change_registration(dice: &mut Dice, _: u128) -> Message {
    let (ticket, from) = (some_ticket(dice), some_ticket(dice));
    ChangeRegistration {
        regist_id: RegistId(from.0),
        user_id: keys(ticket.0.as_u128()).0,
        user_ticket_id: ticket,
        from,
    }
    .into()
}

pub(crate) fn add(dice: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    AddTicket {
        user_id,
        ticket_id,
        user_ticket_id: UserTicketId(Uuid::from_u128(dice.random.random())),
    }
    .into()
}

pub(crate) fn remove(dice: &mut Dice, _: u128) -> Message {
    let user_ticket_id = some_ticket(dice);
    RemoveTicket {
        user_ticket_id,
        user_id: None,
    }
    .into()
}

pub(crate) fn cancel(dice: &mut Dice, _: u128) -> Message {
    CancelRegistration {
        regist_id: None,
        user_id: None,
        user_ticket_id: Some(some_ticket(dice)),
    }
    .into()
}

/// To a ticket that is free, most of the time; sometimes it stays where it is, or comes back.
pub(crate) fn moved(dice: &mut Dice, saga: u128) -> Message {
    let (regist_id, from) = dice
        .some_regist()
        .unwrap_or_else(|| (RegistId(Uuid::nil()), some_ticket(dice)));
    let (user_id, ticket_id) = keys(saga);
    let user_ticket_id = match dice.below(4) {
        0 => from,
        1 => dice.some_regist().map_or(from, |(_, ticket)| ticket),
        _ => UserTicketId(Uuid::from_u128(CHANGES + saga)),
    };
    NewTicketHeld {
        regist_id,
        user_id,
        ticket_id,
        user_ticket_id,
        from,
    }
    .into()
}

pub(crate) fn cancel_one(dice: &mut Dice, _: u128) -> Message {
    CancelRegistration {
        regist_id: dice.some_regist().map(|(id, _)| id),
        user_id: None,
        user_ticket_id: None,
    }
    .into()
}

pub(crate) fn remove_one(dice: &mut Dice, _: u128) -> Message {
    let ticket = dice.some_regist().map(|(_, ticket)| ticket);
    let user_ticket_id = ticket.unwrap_or_else(|| some_ticket(dice));
    RemoveTicket {
        user_ticket_id,
        user_id: None,
    }
    .into()
}

pub(crate) fn held(dice: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    TicketHeld {
        user_id,
        ticket_id,
        user_ticket_id: some_ticket(dice),
    }
    .into()
}
