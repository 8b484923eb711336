//! Who consumes what, and what each has in hand. In memory only: after a restart nobody has
//! anything in hand, and the file knows what to hand out again.

use std::collections::HashMap;

use events::Timestamp;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::warn;

use super::batch::{Claim, Claimed, Row};
use super::request::{
    Arrival, ConsumerId, Parked, Retried, Settle, Settled, Source, Subscribe, Work,
};
use super::topology::QueueName;
use crate::bus::{DeliveryTag, Settlement, TopologyError};
use crate::retry::RetryPolicy;

pub(super) struct Consumers {
    retry: RetryPolicy,
    lines: HashMap<QueueName, Line>,
    replies: HashMap<String, Member>,
    last_tag: u64,
}

/// The consumers of one queue.
struct Line {
    members: Vec<Member>,
    /// Whose turn it is.
    next: usize,
    /// Whether the queue may hold ready events; true at first, for nobody has looked.
    ready: bool,
    /// Whether it may hold suspects.
    suspect: bool,
}

struct Member {
    id: ConsumerId,
    arrivals: mpsc::Sender<Arrival>,
    in_hand: HashMap<DeliveryTag, Held>,
}

struct Held {
    position: i64,
    suspect: bool,
}

impl Consumers {
    pub(super) fn new(retry: RetryPolicy) -> Self {
        Self {
            retry,
            lines: HashMap::new(),
            replies: HashMap::new(),
            last_tag: 0,
        }
    }

    /// Adds the consumer, unless its queue belongs to another one alone.
    pub(super) fn add(&mut self, subscribe: Subscribe) {
        let member = Member {
            id: subscribe.consumer,
            arrivals: subscribe.arrivals,
            in_hand: HashMap::new(),
        };
        let added = match subscribe.source {
            Source::Work(queue) => {
                self.line(queue).members.push(member);
                Ok(())
            }
            Source::Replies(instance) if self.replies.contains_key(&instance) => {
                Err(TopologyError {
                    what: format!("the replies of {instance}"),
                    reason: "another consumer of this instance has them".into(),
                })
            }
            Source::Replies(instance) => {
                self.replies.insert(instance, member);
                Ok(())
            }
        };
        // Who does not wait for the answer any more says goodbye, too.
        let _ = subscribe.answer.send(added);
    }

    /// Removes the consumer; what it had in hand is to be given back.
    pub(super) fn remove(&mut self, consumer: ConsumerId, source: Source) -> Option<Work> {
        let queue = match source {
            Source::Work(queue) => queue,
            Source::Replies(instance) => {
                self.replies
                    .retain(|other, member| *other != instance || member.id != consumer);
                return None;
            }
        };
        let members = &mut self.line(queue.clone()).members;
        let index = members.iter().position(|member| member.id == consumer)?;
        let held = members.remove(index).in_hand.into_values();
        let settled = Settled {
            returned: held.map(|held| held.position).collect(),
            ..Settled::default()
        };
        Some(Work::Settle(Settle {
            queue,
            settled,
            done: None,
        }))
    }

    /// Whether some consumer has this event of this queue in hand.
    pub(super) fn holds(&self, queue: &QueueName, position: i64) -> bool {
        let held = |member: &Member| member.in_hand.values().any(|h| h.position == position);
        self.lines
            .get(queue)
            .is_some_and(|line| line.members.iter().any(held))
    }

    /// Takes deliveries out of the consumer's hand. A tag that it does not hold is passed over.
    pub(super) fn settle(
        &mut self,
        consumer: ConsumerId,
        queue: &QueueName,
        settlements: Vec<(DeliveryTag, Settlement)>,
        now: Timestamp,
    ) -> Settled {
        let mut settled = Settled::default();
        let Self { retry, lines, .. } = self;
        let line = lines.get_mut(queue);
        let mut members = line.into_iter().flat_map(|line| &mut line.members);
        let Some(member) = members.find(|member| member.id == consumer) else {
            return settled;
        };
        for (tag, settlement) in settlements {
            let Some(Held { position, .. }) = member.in_hand.remove(&tag) else {
                continue;
            };
            match settlement {
                Settlement::Done => settled.done.push(position),
                Settlement::Retry { after, failure } => settled.retried.push(Retried {
                    position,
                    due_at: now + retry.tier(after).unwrap_or(after),
                    failure,
                }),
                Settlement::DeadLetter { failure } => {
                    settled.parked.push(Parked { position, failure });
                }
            }
        }
        settled
    }

    /// Notes that the queue has new events.
    pub(super) fn filled(&mut self, queue: &QueueName) {
        self.line(queue.clone()).ready = true;
    }

    /// Notes that the queue has events again that were in hand, perhaps suspects.
    pub(super) fn refilled(&mut self, queue: &QueueName) {
        let line = self.line(queue.clone());
        (line.ready, line.suspect) = (true, true);
    }

    /// Notes that any queue may have events again that were waiting.
    pub(super) fn all_refilled(&mut self) {
        for line in self.lines.values_mut() {
            line.ready = true;
        }
    }

    /// What the consumers have room for, of queues that may hold something.
    pub(super) fn claims(&self) -> Vec<Claim> {
        let claims = self.lines.iter().map(|(queue, line)| Claim {
            queue: queue.clone(),
            room: line.members.iter().map(Member::room).sum(),
            ready: line.ready,
            suspect: line.suspect && !line.members.iter().any(Member::holds_suspect),
        });
        claims
            .filter(|claim| claim.room > 0 && (claim.ready || claim.suspect))
            .collect()
    }

    /// Hands out what a committed claim got.
    pub(super) fn hand_out(&mut self, claim: &Claim, claimed: Claimed) {
        let Some(line) = self.lines.get_mut(&claim.queue) else {
            return;
        };
        if claim.suspect {
            line.suspect = !claimed.suspect.is_empty();
        }
        if claim.ready {
            line.ready = claimed.suspect.len() + claimed.ready.len() == claim.room;
        }
        let suspects = claimed.suspect.into_iter().map(|row| (row, true));
        for (row, suspect) in suspects.chain(claimed.ready.into_iter().map(|row| (row, false))) {
            self.last_tag += 1;
            line.hand_out(DeliveryTag(self.last_tag), row, suspect);
        }
    }

    /// Gives a reply to the instance that waits for it, if it is there.
    pub(super) fn reply(&mut self, instance: &str, json: String) {
        let Some(member) = self.replies.get(instance) else {
            return;
        };
        self.last_tag += 1;
        let arrival = Arrival {
            tag: DeliveryTag(self.last_tag),
            attempts: 0,
            json: json.into_bytes(),
        };
        if let Err(TrySendError::Full(_)) = member.arrivals.try_send(arrival) {
            warn!(
                instance,
                "the instance does not read its replies; a reply is dropped, the ledger has it"
            );
        }
    }

    fn line(&mut self, queue: QueueName) -> &mut Line {
        self.lines.entry(queue).or_insert_with(|| Line {
            members: Vec::new(),
            next: 0,
            ready: true,
            suspect: true,
        })
    }
}

impl Line {
    /// Gives the event to the next member that has room.
    fn hand_out(&mut self, tag: DeliveryTag, row: Row, suspect: bool) {
        let turns = (0..self.members.len()).map(|turn| (self.next + turn) % self.members.len());
        let Some(turn) = turns
            .into_iter()
            .find(|turn| self.members[*turn].room() > 0)
        else {
            unreachable!("no more is claimed than there is room for, and nobody leaves meanwhile");
        };
        self.next = turn + 1;
        let Row {
            position,
            attempts,
            event,
        } = row;
        let member = &mut self.members[turn];
        member.in_hand.insert(tag, Held { position, suspect });
        // A member that is gone says so in the engine's queue, and then gives this back.
        let _ = member.arrivals.try_send(Arrival {
            tag,
            attempts,
            json: event,
        });
    }
}

impl Member {
    fn room(&self) -> usize {
        let prefetch = self.arrivals.max_capacity();
        prefetch.saturating_sub(self.in_hand.len())
    }

    fn holds_suspect(&self) -> bool {
        self.in_hand.values().any(|held| held.suspect)
    }
}
