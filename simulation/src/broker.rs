//! The broker: one queue for each step of the table, a journal, dead letters, and its books.
//!
//! It means what the [port](saga::bus) says and no more: any message may come twice, late, out of
//! order, or again long after it was acknowledged. What it never does is lose one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use events::choreography::{self, Step};
use events::{DecodeError, Event, EventId, SagaId};
use saga::bus::{Delivery, DeliveryTag, Settlement};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::check::Violation;
use crate::fate::Fate;
use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::trace::{About, Who};

pub(crate) struct Broker {
    fate: Arc<Fate>,
    lines: Vec<Line>,
    /// Everything ever published, in order.
    pub(crate) journal: Vec<Arc<Event>>,
    pub(crate) parked: Vec<Parked>,
    pub(crate) ledger: Ledger,
    /// The messages whose answer is published.
    answered: BTreeSet<EventId>,
    away_until: Instant,
    /// Counts the times it went away: what was in hand before is not in hand after.
    pub(crate) epoch: u64,
    last_tag: u64,
}

/// One work queue, its retry tiers included.
struct Line {
    step: &'static Step,
    waiting: Vec<Copy>,
    in_hand: BTreeMap<DeliveryTag, (ConsumerId, Copy)>,
    arrived: Arc<Notify>,
}

/// One copy of a message in one queue.
#[derive(Clone, Debug)]
struct Copy {
    /// None is a message that nobody can read.
    event: Option<Arc<Event>>,
    attempts: u32,
    due: Instant,
}

/// A dead letter.
#[derive(Clone, Debug)]
pub(crate) struct Parked {
    line: LineId,
    pub(crate) event: Option<Arc<Event>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConsumerId(pub(crate) u64);

#[derive(Clone, Copy, Debug)]
pub(crate) struct LineId(usize);

/// Nothing to hand out now: look again at this time, or when something arrives.
pub(crate) struct Nothing {
    pub(crate) until: Option<Instant>,
    pub(crate) arrived: Arc<Notify>,
}

/// The broker is away.
pub(crate) struct Away;

impl Broker {
    pub(crate) fn new(fate: Arc<Fate>) -> Self {
        let line = |step| Line {
            step,
            waiting: Vec::new(),
            in_hand: BTreeMap::new(),
            arrived: Arc::new(Notify::new()),
        };
        Self {
            fate,
            lines: choreography::steps().map(line).collect(),
            journal: Vec::new(),
            parked: Vec::new(),
            ledger: Ledger::default(),
            answered: BTreeSet::new(),
            away_until: Instant::now(),
            epoch: 0,
            last_tag: 0,
        }
    }

    pub(crate) fn line(&self, step: &Step) -> Option<LineId> {
        let same = |line: &Line| line.step.queue() == step.queue();
        self.lines.iter().position(same).map(LineId)
    }

    pub(crate) fn is_away(&self) -> bool {
        Instant::now() < self.away_until
    }

    /// Connections break; what was in hand is to be handed out again.
    pub(crate) fn go_away(&mut self, time: Duration) {
        self.away_until = Instant::now() + time;
        self.epoch += 1;
        for line in 0..self.lines.len() {
            self.take_back(LineId(line), |_| true);
        }
    }

    pub(crate) fn come_back(&mut self) {
        self.away_until = Instant::now();
        for line in &self.lines {
            line.arrived.notify_waiters();
        }
    }

    /// Stores and routes one event.
    pub(crate) fn publish(&mut self, event: &Event, who: Who) -> Result<(), Away> {
        if self.is_away() {
            return Err(Away);
        }
        self.fate.note(who, "published", event);
        let event = Arc::new(event.clone());
        self.answered.extend(event.causation_id);
        self.journal.push(Arc::clone(&event));
        self.ledger.published += self.route(&event);
        while self.fate.strikes(Fault::Duplicated, Who::Broker, &*event) {
            self.ledger.duplicated += self.route(&event);
        }
        Ok(())
    }

    /// Delivers an old message again.
    pub(crate) fn redeliver(&mut self, event: &Arc<Event>) {
        self.ledger.redelivered += self.route(event);
    }

    /// Puts something unreadable into some queue.
    pub(crate) fn garble(&mut self) {
        let line = LineId(self.fate.chance.number(0..self.lines.len()));
        self.ledger.garbled += 1;
        let due = Instant::now();
        self.put(line, None, 0, due);
    }

    /// One copy into each queue that wants it. The end of a saga is wanted by the journal only.
    fn route(&mut self, event: &Arc<Event>) -> u64 {
        let wants = |line: &&Line| line.step.on == event.message_type();
        let Some(line) = self.lines.iter().position(|line| wants(&line)) else {
            return 0;
        };
        let due = Instant::now() + self.delay(event);
        self.put(LineId(line), Some(Arc::clone(event)), 0, due);
        1
    }

    fn delay(&self, event: &Event) -> Duration {
        let chance = &self.fate.chance;
        if self.fate.strikes(Fault::Late, Who::Broker, event) {
            chance.millis(30_000..150_000)
        } else if self.fate.strikes(Fault::Delayed, Who::Broker, event) {
            chance.millis(100..10_000)
        } else {
            chance.millis(0..20)
        }
    }

    fn put(&mut self, line: LineId, event: Option<Arc<Event>>, attempts: u32, due: Instant) {
        let line = &mut self.lines[line.0];
        line.waiting.push(Copy {
            event,
            attempts,
            due,
        });
        line.arrived.notify_waiters();
    }

    /// Hands out some of what is due, in no order.
    pub(crate) fn hand_out(
        &mut self,
        line: LineId,
        to: ConsumerId,
        most: usize,
    ) -> Result<Vec<Delivery>, Nothing> {
        let now = Instant::now();
        let (away_until, chance) = (self.away_until, &self.fate.chance);
        let Line {
            waiting,
            in_hand,
            arrived,
            ..
        } = &mut self.lines[line.0];
        if now < away_until || !waiting.iter().any(|copy| copy.due <= now) {
            let next = waiting.iter().map(|copy| copy.due).min();
            return Err(Nothing {
                until: next.map(|next| next.max(away_until)),
                arrived: Arc::clone(arrived),
            });
        }
        let copies = std::mem::take(waiting).into_iter();
        let (mut due, later): (Vec<_>, Vec<_>) = copies.partition(|copy| copy.due <= now);
        let count = chance.number(1..due.len().min(most) + 1);
        let mut deliveries = Vec::with_capacity(count);
        while deliveries.len() < count {
            let copy = due.swap_remove(chance.number(0..due.len()));
            self.last_tag += 1;
            let tag = DeliveryTag(self.last_tag);
            deliveries.push(copy.delivery(tag));
            in_hand.insert(tag, (to, copy));
        }
        *waiting = later;
        waiting.extend(due);
        Ok(deliveries)
    }

    /// What a consumer has in hand goes back into its queue.
    pub(crate) fn give_back(&mut self, line: LineId, consumer: ConsumerId) {
        self.take_back(line, |holder| holder == consumer);
    }

    fn take_back(&mut self, line: LineId, from: impl Fn(ConsumerId) -> bool) {
        let line = &mut self.lines[line.0];
        let held = std::mem::take(&mut line.in_hand);
        let (back, kept) = held.into_iter().partition(|(_, (holder, _))| from(*holder));
        line.in_hand = kept;
        let back: BTreeMap<_, _> = back;
        line.waiting
            .extend(back.into_values().map(|(_, copy)| copy));
        line.arrived.notify_waiters();
    }

    /// The copy that precedes the acknowledgement of what was not done.
    pub(crate) fn copy(&mut self, line: LineId, tag: DeliveryTag, settlement: &Settlement) {
        let Some((_, copy)) = self.lines[line.0].in_hand.get(&tag) else {
            return;
        };
        let Copy {
            event, attempts, ..
        } = copy.clone();
        match settlement {
            Settlement::Done => {}
            Settlement::Retry { after, .. } => {
                self.ledger.copied += 1;
                self.put(line, event, attempts + 1, Instant::now() + *after);
            }
            Settlement::DeadLetter { .. } => {
                self.ledger.copied += 1;
                self.ledger.parked += 1;
                let about = event.as_deref().map(About::from).unwrap_or_default();
                self.fate.note(Who::Broker, "parked", about);
                let saga = event.as_deref().map(|event| event.saga_id);
                if let Some(saga) = saga.filter(|saga| !self.fate.is_poisoned(*saga)) {
                    self.fate.violated(Violation::ParkedWithoutCause(saga));
                }
                self.parked.push(Parked { line, event });
            }
        }
    }

    /// Forgets a delivery, unless it was taken back before.
    pub(crate) fn acknowledge(
        &mut self,
        line: LineId,
        tag: DeliveryTag,
        settlement: &Settlement,
        who: Who,
    ) {
        let Some((_, copy)) = self.lines[line.0].in_hand.remove(&tag) else {
            return;
        };
        self.ledger.acknowledged += 1;
        let (what, done) = match settlement {
            Settlement::Done => ("acknowledged", true),
            Settlement::Retry { .. } => ("put on a retry tier", false),
            Settlement::DeadLetter { .. } => ("dead-lettered", false),
        };
        let about = copy.event.as_deref().map(About::from).unwrap_or_default();
        self.fate.note(who, what, about);
        match copy.event {
            Some(event) if done && !self.answered.contains(&event.id) => {
                let violation =
                    Violation::AcknowledgedTooEarly(event.saga_id, event.message_type());
                self.fate.violated(violation);
            }
            None if done => self.fate.violated(Violation::UnreadableDone),
            _ => {}
        }
    }

    /// Puts back what is readable among the dead letters.
    pub(crate) fn requeue(&mut self) {
        let parked = std::mem::take(&mut self.parked);
        let (readable, rest) = parked
            .into_iter()
            .partition(|letter| letter.event.is_some());
        self.parked = rest;
        let readable: Vec<Parked> = readable;
        for Parked { line, event } in readable {
            let about = event.as_deref().map(About::from).unwrap_or_default();
            self.fate.note(Who::Operator, "requeued", about);
            self.ledger.requeued += 1;
            self.put(line, event, 0, Instant::now());
        }
    }

    /// Copies that are in a queue or in hand.
    pub(crate) fn in_flight(&self) -> u64 {
        let lines = self.lines.iter();
        lines
            .map(|line| (line.waiting.len() + line.in_hand.len()) as u64)
            .sum()
    }

    /// Whether an event that ends the saga was published.
    pub(crate) fn has_ended(&self, saga: SagaId) -> bool {
        let mut own = self.journal.iter().filter(|event| event.saga_id == saga);
        own.any(|event| choreography::may_end_a_saga(event.message_type()))
    }
}

impl Copy {
    fn delivery(&self, tag: DeliveryTag) -> Delivery {
        let unreadable = || DecodeError::UnknownType {
            found: "Garbled.v1".to_owned(),
        };
        Delivery {
            tag,
            event: self.event.as_deref().cloned().ok_or_else(unreadable),
            attempts: self.attempts,
        }
    }
}
