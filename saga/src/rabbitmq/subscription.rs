//! One connection for all consumers of the bus, and its supervisor.
//!
//! Whatever goes wrong with one of them, the connection is dropped, and after a back-off everything
//! is declared, bounded and consumed anew: then each [`Subscription`] gets a fresh session. A queue
//! that was deleted ends its stream without an error, so an end is as bad as an error.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::connection::{Link, STABLE, Settings, Trouble};
use super::health::{Half, HealthBoard};
use super::in_hand::Acknowledgement;
use super::spec::{Opened, Spec};
use crate::bus::TopologyError;
use crate::retry::Backoff;

/// How often an idle connection is looked at, should its end have passed unnoticed.
const TICK: Duration = Duration::from_secs(1);

/// A consumer on one connection, until that is lost.
struct Session {
    opened: Opened,
    epoch: u64,
}

struct Lost {
    epoch: u64,
    trouble: Trouble,
}

struct Registration {
    spec: Spec,
    sessions: mpsc::UnboundedSender<Session>,
    /// Who waits for the first session.
    opened: Option<oneshot::Sender<Result<(), TopologyError>>>,
}

/// Registers consumers with the supervisor.
pub(super) struct Subscriber {
    registrations: mpsc::UnboundedSender<Registration>,
    lost: mpsc::UnboundedSender<Lost>,
}

impl Subscriber {
    /// Waits until the broker is there and delivers.
    pub(super) async fn subscribe(&self, spec: Spec) -> Result<Subscription, TopologyError> {
        let (sessions, received) = mpsc::unbounded_channel();
        let (opened, first) = oneshot::channel();
        let queue = spec.queue().to_owned();
        let registration = Registration {
            spec,
            sessions,
            opened: Some(opened),
        };
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
            sessions: received,
            lost: self.lost.clone(),
            current: None,
            epoch: 0,
        })
    }
}

/// A consumer that goes on with each new connection.
pub(super) struct Subscription {
    queue: String,
    sessions: mpsc::UnboundedReceiver<Session>,
    lost: mpsc::UnboundedSender<Lost>,
    current: Option<Session>,
    epoch: u64,
}

impl Subscription {
    pub(super) fn queue(&self) -> &str {
        &self.queue
    }

    /// Counts the connections. What an earlier one delivered, the broker has taken back.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the connection that delivered last still stands.
    pub(super) fn is_alive(&self) -> bool {
        let session = self.current.as_ref();
        session.is_some_and(|session| session.opened.channel.status().connected())
    }

    /// The next message, over as many connections as it takes. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Delivery {
        loop {
            if !self.is_alive() && self.current.is_some() {
                self.give_up(Trouble::Cancelled {
                    queue: self.queue.clone(),
                });
            }
            let Some(session) = &mut self.current else {
                match self.sessions.recv().await {
                    Some(session) => {
                        self.epoch = session.epoch;
                        self.current = Some(session);
                    }
                    // The bus is closed: nothing will ever come.
                    None => std::future::pending().await,
                }
                continue;
            };
            match session.opened.deliveries.next().await {
                Some(Ok(delivery)) => return delivery,
                Some(Err(error)) => self.give_up(error.into()),
                None => self.give_up(Trouble::Cancelled {
                    queue: self.queue.clone(),
                }),
            }
        }
    }

    /// The next message if it is there already.
    pub(super) fn next_ready(&mut self) -> Option<Delivery> {
        let session = self.current.as_mut()?;
        // The end of the stream is not lost on us: it is found again by who waits for more.
        session.opened.deliveries.next().now_or_never()??.ok()
    }

    /// Sends acknowledgements on their way. If the connection is gone they mean nothing any more.
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
            let channel = &session.opened.channel;
            let _ = channel.basic_ack(delivery_tag, options).now_or_never();
        }
    }

    fn give_up(&mut self, trouble: Trouble) {
        if let Some(Session { epoch, .. }) = self.current.take() {
            // Without a supervisor the bus is closed.
            let _ = self.lost.send(Lost { epoch, trouble });
        }
    }
}

pub(super) fn new(
    settings: &Arc<Settings>,
    health: &Arc<HealthBoard>,
    closing: &CancellationToken,
) -> (Subscriber, Supervisor) {
    let (registrations, registered) = mpsc::unbounded_channel();
    let (lost, losses) = mpsc::unbounded_channel();
    let supervisor = Supervisor {
        settings: Arc::clone(settings),
        health: Arc::clone(health),
        closing: closing.clone(),
        incoming: registered,
        losses,
        registered: Vec::new(),
        link: None,
        epoch: 0,
    };
    let subscriber = Subscriber {
        registrations,
        lost,
    };
    (subscriber, supervisor)
}

pub(super) struct Supervisor {
    settings: Arc<Settings>,
    health: Arc<HealthBoard>,
    closing: CancellationToken,
    incoming: mpsc::UnboundedReceiver<Registration>,
    losses: mpsc::UnboundedReceiver<Lost>,
    registered: Vec<Registration>,
    link: Option<Link>,
    epoch: u64,
}

impl Supervisor {
    pub(super) async fn run(mut self) {
        let closing = self.closing.clone();
        tokio::select! {
            biased;
            () = closing.cancelled() => {}
            () = self.supervise() => {}
        }
        self.drop_link().await;
    }

    async fn supervise(&mut self) {
        let mut backoff = Backoff::new();
        loop {
            if self.nobody_consumes() {
                self.health.up(Half::Consuming);
                match self.incoming.recv().await {
                    Some(registration) => self.registered.push(registration),
                    None => return,
                }
            }
            let since = Instant::now();
            let Err(trouble) = self.session().await else {
                continue;
            };
            self.drop_link().await;
            self.health.down(Half::Consuming, trouble.to_string());
            if let Trouble::Topology(error) = &trouble {
                self.refuse_newcomers(error);
            }
            if since.elapsed() > STABLE {
                backoff = Backoff::new();
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// Connects and consumes until something goes wrong, or until nobody consumes any more.
    async fn session(&mut self) -> Result<(), Trouble> {
        self.link = Some(Link::open(&self.settings, "consume").await?);
        self.epoch += 1;
        for place in 0..self.registered.len() {
            self.open(place).await?;
        }
        self.health.up(Half::Consuming);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let Some(link) = &mut self.link else {
                return Ok(());
            };
            tokio::select! {
                biased;
                event = link.events.next() => if let Some(lapin::Event::Error(error)) = event {
                    return Err(error.into());
                },
                Some(lost) = self.losses.recv() => if lost.epoch == self.epoch {
                    return Err(lost.trouble);
                },
                Some(registration) = self.incoming.recv() => self.join(registration).await?,
                _ = tick.tick() => {
                    if !link.is_alive() {
                        return Err(Trouble::Silent);
                    }
                    if self.nobody_consumes() {
                        self.drop_link().await;
                    }
                }
            }
        }
    }

    /// Opens a newcomer's session. What only concerns the newcomer disturbs nobody else.
    async fn join(&mut self, registration: Registration) -> Result<(), Trouble> {
        self.registered.push(registration);
        let opened = self.open(self.registered.len() - 1).await;
        if let Err(Trouble::Topology(error)) = &opened {
            self.refuse_newcomers(error);
            return Ok(());
        }
        opened
    }

    async fn open(&mut self, place: usize) -> Result<(), Trouble> {
        let (Some(link), registration) = (&self.link, &mut self.registered[place]) else {
            return Ok(());
        };
        let session = Session {
            opened: registration.spec.open(&link.connection).await?,
            epoch: self.epoch,
        };
        // A consumer that is gone by now is sorted out later.
        let _ = registration.sessions.send(session);
        if let Some(opened) = registration.opened.take() {
            let _ = opened.send(Ok(()));
        }
        Ok(())
    }

    fn nobody_consumes(&mut self) -> bool {
        self.registered
            .retain(|registration| !registration.sessions.is_closed());
        self.registered.is_empty()
    }

    /// Tells who waits for a first session that there will be none until an operator acts.
    fn refuse_newcomers(&mut self, error: &TopologyError) {
        while let Ok(registration) = self.incoming.try_recv() {
            self.registered.push(registration);
        }
        self.registered.retain_mut(|registration| {
            let Some(opened) = registration.opened.take() else {
                return true;
            };
            let _ = opened.send(Err(TopologyError {
                what: error.what.clone(),
                reason: error.reason.clone(),
            }));
            false
        });
    }

    async fn drop_link(&mut self) {
        if let Some(link) = self.link.take() {
            link.close("goodbye").await;
        }
    }
}
