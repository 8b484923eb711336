//! A consumer's end of the consuming connection: the [`supervisor`](super::supervisor) opens
//! sessions, one after the other, and a [`Subscription`] takes its messages from the newest.
//!
//! A queue that was deleted ends its stream with one mark and then says nothing more, so wherever a
//! message is asked for, an end is as bad as an error and gives the session up.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use tokio::sync::{Notify, mpsc, oneshot};

use super::compression::decompressed;
use super::connection::Trouble;
use super::in_hand::Acknowledgement;
use super::pace::{Opened, Pace, Turning};
use super::spec::Spec;
use super::supervisor::Registration;
use crate::bus::TopologyError;

/// A consumer on one channel, until that is lost.
pub(super) struct Session {
    pub(super) opened: Opened,
    /// No other session of the bus has it.
    pub(super) number: u64,
}

/// What a consumer says of its session, which it has left.
pub(super) struct Report {
    pub(super) session: u64,
    pub(super) end: End,
}

pub(super) enum End {
    Trouble(Trouble),
    /// Nothing is wrong; it wants another one.
    Reopen,
}

/// Where the newest session waits for its consumer. One that is busy over many reconnects finds one
/// session with its prefetched messages, and not all of them.
pub(super) struct Slot<T> {
    newest: Mutex<Option<T>>,
    filled: Notify,
}

impl<T> Slot<T> {
    fn new() -> Self {
        Self {
            newest: Mutex::new(None),
            filled: Notify::new(),
        }
    }

    pub(super) fn put(&self, item: T) {
        self.newest().replace(item);
        self.filled.notify_one();
    }

    /// Waits until there is one. Dropping the future loses nothing.
    async fn take(&self) -> T {
        loop {
            if let Some(item) = self.newest().take() {
                return item;
            }
            self.filled.notified().await;
        }
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, Option<T>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registers consumers with the supervisor.
pub(super) struct Subscriber {
    pub(super) registrations: mpsc::UnboundedSender<Registration>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
}

impl Subscriber {
    /// Waits until the broker is there and delivers.
    pub(super) async fn subscribe(&self, spec: Spec) -> Result<Subscription, TopologyError> {
        let slot = Arc::new(Slot::new());
        let (opened, first) = oneshot::channel();
        let queue = spec.queue().to_owned();
        let registration = Registration::new(spec, Arc::downgrade(&slot), opened);
        // Closed or never answered: both are the bus being closed.
        let _ = self.registrations.send(registration);
        first.await.unwrap_or_else(|_| {
            Err(TopologyError {
                what: format!("consumer of queue {queue}"),
                reason: "the bus is closed".to_owned(),
            })
        })?;
        Ok(Subscription {
            queue,
            slot,
            reports: self.reports.clone(),
            current: None,
            epoch: 0,
        })
    }
}

/// A consumer that goes on with each new session.
pub(super) struct Subscription {
    queue: String,
    slot: Arc<Slot<Session>>,
    reports: mpsc::UnboundedSender<Report>,
    current: Option<Current>,
    epoch: u64,
}

/// The session that a consumer takes messages from.
struct Current {
    number: u64,
    channel: Channel,
    state: State,
}

enum State {
    Delivering(Box<Opened>),
    /// It will deliver again.
    Turning(Turning),
}

impl Subscription {
    pub(super) fn queue(&self) -> &str {
        &self.queue
    }

    /// Changes with each session. What an earlier one delivered, the broker has taken back.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the session that delivered last still stands.
    pub(super) fn is_alive(&self) -> bool {
        let session = self.current.as_ref();
        session.is_some_and(|session| session.channel.status().connected())
    }

    /// How much the session that delivers has in hand at a time.
    pub(super) fn pace(&self) -> Option<Pace> {
        self.opened().map(|opened| opened.pace)
    }

    /// Whether the session takes one message at a time and could take more.
    pub(super) fn could_take_more(&self) -> bool {
        self.opened().is_some_and(Opened::could_take_more)
    }

    fn opened(&self) -> Option<&Opened> {
        match &self.current.as_ref()?.state {
            State::Delivering(opened) => Some(opened),
            State::Turning(_) => None,
        }
    }

    /// The next message, over as many sessions as it takes. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Delivery {
        loop {
            self.connected().await;
            if let Some(delivery) = self.next_of_session().await {
                return delivery;
            }
        }
    }

    /// Waits for a session to take messages from; for ever, if the bus is closed.
    pub(super) async fn connected(&mut self) {
        loop {
            if self.current.is_some() && !self.is_alive() {
                self.give_up(self.cancelled());
            }
            if self.opened().is_some_and(Opened::is_resting) {
                self.turn_with(Opened::consume_again);
            }
            match &mut self.current {
                None => self.enter(self.slot.take().await),
                Some(Current {
                    state: State::Delivering(_),
                    ..
                }) => return,
                Some(Current {
                    state: State::Turning(turning),
                    ..
                }) => match turning.await {
                    Ok(opened) => self.has_turned(opened),
                    Err(trouble) => self.give_up(trouble),
                },
            }
        }
    }

    fn enter(&mut self, Session { opened, number }: Session) {
        self.epoch = number;
        self.current = Some(Current {
            number,
            channel: opened.channel.clone(),
            state: State::Delivering(Box::new(opened)),
        });
    }

    fn has_turned(&mut self, opened: Opened) {
        if let Some(session) = &mut self.current {
            session.state = State::Delivering(Box::new(opened));
        }
    }

    fn delivering(&mut self) -> Option<&mut Opened> {
        match &mut self.current.as_mut()?.state {
            State::Delivering(opened) => Some(opened),
            State::Turning(_) => None,
        }
    }

    /// The next message of this session, or none if it has ended.
    pub(super) async fn next_of_session(&mut self) -> Option<Delivery> {
        let next = self.delivering()?.next().await;
        self.delivered(next)
    }

    /// The next message if it is there already.
    pub(super) fn next_ready(&mut self) -> Option<Delivery> {
        let next = self.delivering()?.next().now_or_never()?;
        self.delivered(next)
    }

    fn delivered(&mut self, next: Option<lapin::Result<Delivery>>) -> Option<Delivery> {
        match next {
            Some(Ok(delivery)) => return Some(decompressed(delivery)),
            Some(Err(error)) => self.give_up(error.into()),
            None => self.give_up(self.cancelled()),
        }
        None
    }

    /// Sends acknowledgements on their way. If the session is gone they mean nothing any more.
    pub(super) fn acknowledge(&self, acknowledgements: Vec<Acknowledgement>) {
        let Some(session) = &self.current else {
            return;
        };
        for Acknowledgement {
            delivery_tag,
            multiple,
        } in acknowledgements
        {
            let options = BasicAckOptions { multiple };
            // The first poll hands the frame over; what remains would wait for the socket.
            let acknowledging = session.channel.basic_ack(delivery_tag, options);
            let _ = acknowledging.now_or_never();
        }
    }

    /// Asks for another session. What is not settled by now comes again.
    pub(super) fn reopen(&mut self) {
        self.leave(End::Reopen);
    }

    /// Goes on at another pace within the session, this message first. With one at a time, all others
    /// that are not taken yet come again.
    pub(super) fn turn(&mut self, pace: Pace, first: Delivery) {
        self.turn_with(|opened| opened.turn(pace, first));
    }

    fn turn_with(&mut self, turn: impl FnOnce(Opened) -> Turning) {
        self.current = self.current.take().map(|session| Current {
            state: match session.state {
                State::Delivering(opened) => State::Turning(turn(*opened)),
                State::Turning(_) => unreachable!("nothing is delivered meanwhile"),
            },
            ..session
        });
    }

    fn cancelled(&self) -> Trouble {
        Trouble::Cancelled {
            queue: self.queue.clone(),
        }
    }

    fn give_up(&mut self, trouble: Trouble) {
        self.leave(End::Trouble(trouble));
    }

    fn leave(&mut self, end: End) {
        // Dropped, the session closes its channel, before the next one is asked for.
        if let Some(session) = self.current.take().map(|session| session.number) {
            // Without a supervisor the bus is closed.
            let _ = self.reports.send(Report { session, end });
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(Current {
            state: State::Turning(_),
            channel,
            ..
        }) = &self.current
        {
            // A consumer that is just being started would keep it open, and take messages.
            let closing = channel.close(200, "left".into());
            let _ = closing.now_or_never();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_consumer_finds_the_newest_session_and_no_other() {
        let slot = Slot::new();
        (1..=3).for_each(|number| slot.put(number));
        assert_eq!(slot.take().await, 3);
        assert_eq!(slot.take().now_or_never(), None);
        slot.put(4);
        assert_eq!(slot.take().await, 4);
    }
}
