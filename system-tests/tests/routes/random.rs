//! Random routes from many callers at once, on few users and tickets, so that they meet.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;
use system_tests::seed::{random, seed};

use crate::caller::Caller;
use crate::{contradictions, on_embedded, on_servers};

const CALLERS: u64 = 12;
const CALLS: usize = 250;
const USERS: u64 = 4;
const TICKETS: u64 = 3;
/// Older ids are forgotten, so that callers meet at the same objects.
const REMEMBERED: usize = 8;

/// Ids that some answer told, the newest last.
#[derive(Default)]
struct Seen {
    tickets: Vec<String>,
    regists: Vec<String>,
}

struct Player {
    caller: Caller,
    dice: StdRng,
    seen: Arc<Mutex<Seen>>,
    /// How many calls did something, and how many were refused.
    counts: (usize, usize),
}

fn remember(ids: &mut Vec<String>, id: String) {
    ids.push(id);
    if ids.len() > REMEMBERED {
        ids.remove(0);
    }
}

impl Player {
    fn user(&mut self) -> u64 {
        self.dice.random_range(0..USERS)
    }

    fn ticket(&mut self) -> u64 {
        self.dice.random_range(0..TICKETS)
    }

    fn pick(&mut self, from: fn(&Seen) -> &Vec<String>) -> String {
        let seen = self.seen.lock().unwrap();
        let ids = from(&seen);
        match ids.len() {
            0 => uuid::Uuid::now_v7().to_string(),
            some => ids[self.dice.random_range(0..some)].clone(),
        }
    }

    fn user_ticket(&mut self) -> String {
        self.pick(|seen| &seen.tickets)
    }

    fn regist(&mut self) -> String {
        self.pick(|seen| &seen.regists)
    }

    fn play(&mut self) {
        let (user, ticket) = (self.user(), self.ticket());
        let (user_ticket, regist) = (self.user_ticket(), self.regist());
        let (other_ticket, other_regist) = (self.user_ticket(), self.regist());
        let caller = &mut self.caller;
        let answer = match self.dice.random_range(0..20) {
            0..3 => caller.trans(user, ticket),
            3..6 => caller.add_ticket(user, ticket),
            6..9 => caller.register(user, &user_ticket),
            9 | 10 => caller.delete_ticket(&user_ticket),
            11 | 12 => caller.delete_regist(&regist),
            13 => {
                let body = json!({"ids": [user_ticket, other_ticket]});
                caller.call("DELETE", "/userTicket/delete-batch", &body)
            }
            14 => {
                let body = json!({"ids": [regist, other_regist]});
                caller.call("DELETE", "/regist/delete-batch", &body)
            }
            15 => {
                let body = json!({"id": user_ticket});
                caller.call("POST", "/userTicket/add-rollback", &body)
            }
            16 => {
                let body = json!({"userId": user, "userTicketId": user_ticket});
                caller.call("POST", "/regist/regist-rollback", &body)
            }
            17 => {
                let body = json!({"id": user_ticket, "userId": user, "ticketId": ticket});
                caller.call("PUT", "/userTicket", &body)
            }
            18 => {
                let body = json!({"id": regist, "userTicketId": other_ticket, "userId": user});
                caller.call("PUT", "/regist", &body)
            }
            _ => {
                caller.get(&format!("/userTicket?id={user_ticket}"));
                caller.get(&format!("/regist?id={regist}"))
            }
        };
        self.note(&answer);
    }

    fn note(&mut self, answer: &crate::caller::Answer) {
        match answer.status {
            200 => self.counts.0 += 1,
            _ => self.counts.1 += 1,
        }
        let (data, mut seen) = (answer.data(), self.seen.lock().unwrap());
        let id = |field: &str| data[field].as_str().map(str::to_owned);
        if data["ticketId"].is_u64() {
            let ticket = id("userTicketId").or_else(|| id("id"));
            ticket
                .into_iter()
                .for_each(|id| remember(&mut seen.tickets, id));
        }
        if data["userTicketId"].is_string() {
            let regist = id("registId").or_else(|| id("id"));
            regist
                .into_iter()
                .for_each(|id| remember(&mut seen.regists, id));
        }
    }
}

fn no_order_of_calls_ends_in_a_contradiction(address: SocketAddr) {
    let (seed, seen) = (seed(), Arc::<Mutex<Seen>>::default());
    let players = (0..CALLERS).map(|number| {
        let mut player = Player {
            caller: Caller::new(address),
            dice: random(seed.wrapping_add(number)),
            seen: Arc::clone(&seen),
            counts: (0, 0),
        };
        thread::spawn(move || {
            (0..CALLS).for_each(|_| player.play());
            player.counts
        })
    });
    let players: Vec<_> = players.collect();
    let counts: Vec<_> = players.into_iter().map(|one| one.join().unwrap()).collect();
    let done: usize = counts.iter().map(|(done, _)| done).sum();
    let refused: usize = counts.iter().map(|(_, refused)| refused).sum();
    let left = contradictions::check(&mut Caller::new(address));
    println!(
        "{done} calls did something, {refused} were refused; tickets, registrations: {left:?}"
    );
    assert!(
        done > 500 && refused > 100,
        "{done} done, {refused} refused"
    );
}

#[test]
fn no_order_of_calls_ends_in_a_contradiction_on_the_embedded_system() {
    on_embedded(no_order_of_calls_ends_in_a_contradiction);
}

#[test]
fn no_order_of_calls_ends_in_a_contradiction_on_rabbitmq_and_postgresql() {
    on_servers(no_order_of_calls_ends_in_a_contradiction);
}
