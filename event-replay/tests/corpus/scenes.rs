//! Every path of every kind of saga, played by the real participants: one scene for each kind, each a
//! recording of its own. [`CORPUS`] is the list of them.

use events::{
    AddTicket, CancelRegistration, ChangeRegistration, ChangeTicket, MessageType,
    PurchaseAndRegister, RegistId, Register, RemoveTicket, TicketId, UserId, UserTicketId,
};
use futures_util::future::LocalBoxFuture;
use uuid::Uuid;

use crate::system::{System, regist_id};

/// A recording of the corpus: the file's name, and what happens in it.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) play: for<'a> fn(&'a mut System) -> LocalBoxFuture<'a, ()>,
}

pub(crate) const CORPUS: &[Scene] = &[
    Scene {
        name: "purchase-and-register",
        play: |system| Box::pin(purchases(system)),
    },
    Scene {
        name: "competition",
        play: |system| Box::pin(competition(system)),
    },
    Scene {
        name: "tickets",
        play: |system| Box::pin(tickets(system)),
    },
    Scene {
        name: "register",
        play: |system| Box::pin(registers(system)),
    },
    Scene {
        name: "change-registration",
        play: |system| Box::pin(changes(system)),
    },
    Scene {
        name: "cancel-registration",
        play: |system| Box::pin(cancellations(system)),
    },
];

fn ticket(number: u128) -> UserTicketId {
    UserTicketId(Uuid::from_u128(0x8000_8000_0000_0000_0001_0000 + number))
}

fn purchase(user: u64, number: u128) -> PurchaseAndRegister {
    PurchaseAndRegister {
        user_id: UserId(user),
        ticket_id: TicketId(1),
        user_ticket_id: ticket(number),
    }
}

fn add(user: u64, number: u128) -> AddTicket {
    AddTicket {
        user_id: UserId(user),
        ticket_id: TicketId(1),
        user_ticket_id: ticket(number),
    }
}

fn register(user: u64, number: u128) -> Register {
    Register {
        user_id: UserId(user),
        user_ticket_id: ticket(number),
    }
}

fn remove(number: u128) -> RemoveTicket {
    RemoveTicket {
        user_ticket_id: ticket(number),
        user_id: None,
    }
}

fn cancel(number: u128) -> CancelRegistration {
    CancelRegistration {
        regist_id: None,
        user_id: None,
        user_ticket_id: Some(ticket(number)),
    }
}

fn change(regist_id: RegistId, user: u64, from: u128, to: u128) -> ChangeRegistration {
    ChangeRegistration {
        regist_id,
        user_id: UserId(user),
        user_ticket_id: ticket(to),
        from: ticket(from),
    }
}

/// Of another ticket on sale than the others.
fn add_other(user: u64, number: u128) -> AddTicket {
    AddTicket {
        ticket_id: TicketId(2),
        ..add(user, number)
    }
}

async fn purchases(system: &mut System) {
    system.run(purchase(1, 1)).await;
    system.run_twice(purchase(2, 2)).await;
    // The second of one user is taken back, and stays taken back.
    system.run_twice(purchase(1, 3)).await;
    system.run_late(purchase(3, 4)).await;
    system
        .run_late_at_the_second_step(purchase(4, 5), MessageType::TicketPurchased)
        .await;
    // The ticket is deleted before it is bought.
    system.run(remove(6)).await;
    system.run(purchase(5, 6)).await;
    // Gone, and bought again.
    system.run(remove(1)).await;
    system.run(purchase(1, 7)).await;
}

/// At the same moment, four of one user and four of another.
async fn competition(system: &mut System) {
    let commands: Vec<_> = (0..8)
        .map(|number| system.command(purchase(10 + number % 2, 10 + u128::from(number))))
        .collect();
    system.run_all(&commands).await;
}

/// So many purchases, of which every fifth is of the user of the one before, in waves.
pub(crate) async fn many_purchases(system: &mut System, count: u64) {
    const WAVE: usize = 1_000;
    for first in (0..count).step_by(WAVE) {
        let wave = first..count.min(first + WAVE as u64);
        let user = |number: u64| number - u64::from(number % 5 == 4);
        let commands: Vec<_> = wave
            .map(|number| system.command(purchase(user(number), u128::from(number))))
            .collect();
        system.run_all(&commands).await;
    }
}

async fn tickets(system: &mut System) {
    system.run_twice(add(20, 20)).await;
    system.run_late(add(20, 21)).await;
    let to = |user, number| ChangeTicket {
        user_id: Some(UserId(user)),
        ticket_id: None,
        user_ticket_id: ticket(number),
    };
    system.run_twice(to(21, 20)).await;
    system.run_late(to(22, 20)).await;
    system.run(to(22, 29)).await;
    system.run(purchase(23, 22)).await;
    // It is held by its registration.
    system.run(to(22, 22)).await;
    system.run_late(remove(22)).await;
    system.run_twice(remove(22)).await;
    system.run(remove(20)).await;
}

async fn registers(system: &mut System) {
    system.run(add(30, 30)).await;
    system.run_twice(register(30, 30)).await;
    // The ticket is held.
    system.run(register(30, 30)).await;
    system.run(register(31, 30)).await;
    system.run(register(30, 39)).await;
    system.run_late(register(30, 30)).await;
    // Another ticket of the same user for the same sale.
    system.run(add(30, 31)).await;
    system.run(register(30, 31)).await;
    system.run(remove(30)).await;
    system.run(register(30, 30)).await;
    // Closed before it was there.
    system.run(remove(32)).await;
    system.run(add(32, 32)).await;
    system.run(register(32, 32)).await;
    system.run(add(33, 33)).await;
    system
        .run_late_at_the_second_step(register(33, 33), MessageType::TicketHeld)
        .await;
}

async fn changes(system: &mut System) {
    let bought = regist_id(&system.run(purchase(40, 40)).await);
    system.run(add(40, 41)).await;
    // To another ticket and back; the one it has already.
    system.run_twice(change(bought, 40, 40, 41)).await;
    system.run(change(bought, 40, 41, 40)).await;
    system.run(change(bought, 40, 40, 40)).await;
    system.run(change(bought, 40, 40, 49)).await;
    system.run(change(bought, 42, 40, 41)).await;
    system.run_late(change(bought, 40, 40, 41)).await;
    system.run(add(40, 43)).await;
    system.run(remove(43)).await;
    system.run(change(bought, 40, 40, 43)).await;
    // Refused by the second participant, which frees the new ticket.
    system.run(change(RegistId(Uuid::nil()), 40, 40, 41)).await;
    system.run(change(bought, 40, 48, 41)).await;
    system.run(remove(44)).await;
    system.run(add(40, 44)).await;
    system.run(change(bought, 40, 40, 44)).await;
    // Its user has a registration for that sale.
    system.run(add_other(40, 45)).await;
    system.run(register(40, 45)).await;
    system.run(add_other(40, 46)).await;
    system.run(change(bought, 40, 40, 46)).await;
    // Held by another one.
    system.run(change(bought, 40, 40, 45)).await;
    system
        .run_late_at_the_second_step(change(bought, 40, 40, 41), MessageType::NewTicketHeld)
        .await;
}

async fn cancellations(system: &mut System) {
    let bought = regist_id(&system.run(purchase(50, 50)).await);
    system.run_late(cancel(50)).await;
    system.run_twice(cancel(50)).await;
    let by_id = CancelRegistration {
        regist_id: Some(bought),
        user_id: None,
        user_ticket_id: None,
    };
    // Gone already, which is as good.
    system.run(by_id).await;
    system.run(register(50, 50)).await;
    system.run(cancel(50)).await;
}
