//! What callers ask for: the sagas of a world.

use std::sync::Arc;
use std::time::Duration;

use events::choreography::{API_GATEWAY, PURCHASE_AND_REGISTER, REGIST_WORKER, TICKET_WORKER};
use events::{
    Event, Message, PurchaseAndRegister, Reason, RegistrationFailed, SagaId, TicketId, UserId,
    UserTicketId,
};
use saga::Tasks;
use saga::bus::Bus;

use crate::bus::{SharedBroker, SimulatedBus};
use crate::check::Violation;
use crate::fate::Fate;
use crate::fault::Fault;
use crate::life::Life;
use crate::replica::Ground;
use crate::routes::Call;
use crate::trace::Who;

/// One saga, as its caller wants it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) saga: SagaId,
    pub(crate) user: UserId,
    pub(crate) ticket: TicketId,
    pub(crate) user_ticket: UserTicketId,
    after: Duration,
    /// The operator gives it up before its command is delivered.
    pub(crate) overtaken: bool,
}

/// How many callers work orders off at a time.
const CALLERS: usize = 4;

/// Longer than an undo can take, whatever fails, unless it got lost.
const UNDO_LIMIT: Duration = Duration::from_secs(30 * 60);

/// All orders of a world; those that will make trouble are marked as such.
pub(crate) fn draw(fate: &Fate) -> Vec<Order> {
    let (plan, chance) = (&fate.plan, &fate.chance);
    let rush = u64::try_from(plan.rush.as_millis()).unwrap_or(u64::MAX);
    let order = |_| {
        let saga = SagaId(chance.uuid());
        let order = Order {
            saga,
            user: UserId(chance.number(0..plan.users) as u64),
            ticket: TicketId(chance.number(0..plan.tickets) as u64),
            user_ticket: UserTicketId(chance.uuid()),
            after: chance.millis(0..rush + 1),
            overtaken: fate.strikes(Fault::Overtaken, Who::Operator, saga),
        };
        let service = [TICKET_WORKER, REGIST_WORKER][chance.number(0..2)];
        // An operator who gives a saga up sees to it that the undo is done.
        if !order.overtaken && fate.strikes(Fault::Poison, Who::Operator, saga) {
            fate.trouble(service, saga, u32::MAX);
        } else if fate.strikes(Fault::Flaky, Who::Operator, saga) {
            // No more than there are retry tiers, so that none of them is parked.
            fate.trouble(service, saga, 1 + chance.number(0..3) as u32);
        }
        order
    };
    let mut orders: Vec<_> = (0..plan.sagas).map(order).collect();
    orders.sort_by_key(|order| order.after);
    orders
}

/// Publishes the command of every order and call at its time, until each is confirmed.
pub(crate) async fn place(orders: &[Order], calls: &[Call], ground: &Ground) {
    let tasks = Tasks::new();
    let (fate, broker) = (&ground.fate, &ground.broker);
    let overtaken = orders.iter().filter(|order| order.overtaken);
    let mut shares: Vec<Vec<Order>> = overtaken.map(|order| vec![*order]).collect();
    for caller in 0..CALLERS {
        let own = orders.iter().filter(|order| !order.overtaken);
        shares.push(own.skip(caller).step_by(CALLERS).copied().collect());
    }
    for share in shares {
        let caller = Caller::new(fate, broker);
        tasks.spawn("caller", async move {
            for order in share {
                caller.place(order).await;
            }
        });
    }
    for number in 0..CALLERS {
        let own = calls.iter().skip(number).step_by(CALLERS).cloned();
        let (own, caller): (Vec<_>, _) = (own.collect(), Caller::new(fate, broker));
        let ground = ground.clone();
        tasks.spawn("caller of routes", async move {
            for call in own {
                caller.call(&call, &ground).await;
            }
        });
    }
    let limit = Duration::from_secs(24 * 60 * 60);
    tasks
        .join(limit)
        .await
        .expect("publishing succeeds in the end");
}

struct Caller {
    fate: Arc<Fate>,
    broker: SharedBroker,
    bus: SimulatedBus,
}

impl Caller {
    fn new(fate: &Arc<Fate>, broker: &SharedBroker) -> Self {
        Self {
            fate: Arc::clone(fate),
            broker: broker.clone(),
            bus: SimulatedBus {
                broker: broker.clone(),
                life: Life::new(Arc::clone(fate), Who::Caller),
            },
        }
    }

    async fn call(&self, call: &Call, ground: &Ground) {
        let due = call.after.saturating_sub(self.fate.elapsed());
        tokio::time::sleep(due).await;
        if let Some(message) = call.command(ground) {
            self.send(&self.event(call.saga, message)).await;
        }
    }

    async fn place(&self, order: Order) {
        let due = order.after.saturating_sub(self.fate.elapsed());
        tokio::time::sleep(due).await;
        if order.overtaken && !self.give_up(order).await {
            return self.fate.violated(Violation::NoEnd(order.saga));
        }
        self.send(&self.event(order.saga, order.command())).await;
    }

    async fn send(&self, command: &Event) {
        self.publish(command).await;
        if self.fate.strikes(Fault::CalledTwice, Who::Caller, command) {
            self.publish(command).await;
        }
    }

    /// The undo comes first. Whether it was done: only then may the command follow.
    async fn give_up(&self, order: Order) -> bool {
        let refusal = self.event(order.saga, order.refusal());
        self.publish(&refusal).await;
        let limit = self.fate.elapsed() + UNDO_LIMIT;
        while !self.broker.lock().has_ended(order.saga) {
            if self.fate.elapsed() > limit {
                return false;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        true
    }

    /// A publisher that is not told that it succeeded tries again.
    async fn publish(&self, event: &Event) {
        while self.bus.publish(std::slice::from_ref(event)).await.is_err() {
            tokio::time::sleep(self.fate.chance.millis(50..500)).await;
        }
    }

    fn event(&self, saga: SagaId, message: Message) -> Event {
        let now = self.fate.now();
        Event {
            id: Event::id_of(saga, message.message_type()),
            source: API_GATEWAY.0.into(),
            time: now,
            saga_id: saga,
            causation_id: None,
            traceparent: None,
            reply_to: None,
            deadline: Some(now + PURCHASE_AND_REGISTER.deadline),
            message,
        }
    }
}

impl Order {
    fn command(&self) -> Message {
        PurchaseAndRegister {
            user_id: self.user,
            ticket_id: self.ticket,
            user_ticket_id: self.user_ticket,
        }
        .into()
    }

    fn refusal(&self) -> Message {
        RegistrationFailed {
            user_id: self.user,
            ticket_id: self.ticket,
            user_ticket_id: self.user_ticket,
            reason: Reason::from("given_up".to_owned()),
        }
        .into()
    }
}
