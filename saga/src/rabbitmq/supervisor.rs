//! One connection for all consumers of the bus, and who keeps it and them open.
//!
//! A lost connection is dropped, and after a back-off everything is declared, bounded and consumed
//! anew. A consumer that fails while the connection stands fails alone: it is opened again after a
//! back-off of its own, and disturbs nobody. Dropping the connection for it would hand everyone's
//! messages out once more, each time using up one of their deliveries.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::connection::{Link, STABLE, Settings, Trouble};
use super::health::{Half, HealthBoard};
use super::pace::Opened;
use super::spec::Spec;
use super::subscription::{End, Report, Session, Slot, Subscriber};
use crate::bus::TopologyError;
use crate::retry::Backoff;

/// How often an idle connection is looked at, should its end have passed unnoticed.
const TICK: Duration = Duration::from_secs(1);

/// A consumer that is to be kept open, until it is dropped.
pub(super) struct Registration {
    spec: Spec,
    slot: Weak<Slot<Session>>,
    /// Who waits for the first session.
    opened: Option<oneshot::Sender<Result<(), TopologyError>>>,
    /// The session it has, or had last.
    session: u64,
    since: Instant,
    backoff: Backoff,
    waiting: Option<Waiting>,
}

/// Why a consumer has no session, and when it is tried again.
struct Waiting {
    reason: String,
    until: Instant,
}

impl Registration {
    pub(super) fn new(
        spec: Spec,
        slot: Weak<Slot<Session>>,
        opened: oneshot::Sender<Result<(), TopologyError>>,
    ) -> Self {
        Self {
            spec,
            slot,
            opened: Some(opened),
            session: 0,
            since: Instant::now(),
            backoff: Backoff::new(),
            waiting: None,
        }
    }

    fn is_dropped(&self) -> bool {
        self.slot.strong_count() == 0
    }

    fn start(&mut self, opened: Opened, number: u64) {
        (self.session, self.since, self.waiting) = (number, Instant::now(), None);
        // A consumer that is gone by now is sorted out later.
        if let Some(slot) = self.slot.upgrade() {
            slot.put(Session { opened, number });
        }
        if let Some(opened) = self.opened.take() {
            let _ = opened.send(Ok(()));
        }
    }

    /// Its session ended while the connection stands.
    fn lose(&mut self, trouble: Trouble) {
        if self.since.elapsed() > STABLE {
            self.backoff = Backoff::new();
        }
        self.fail(trouble);
    }

    /// Gets no session now. Who waits for a first one hears if only an operator can help; who has
    /// had one goes on trying.
    fn fail(&mut self, trouble: Trouble) {
        self.waiting = None;
        match (trouble, self.opened.take()) {
            (Trouble::Topology(error), Some(opened)) => {
                let _ = opened.send(Err(error));
            }
            (trouble, opened) => {
                self.opened = opened;
                self.waiting = Some(Waiting {
                    reason: trouble.to_string(),
                    until: Instant::now() + self.backoff.next_delay(),
                });
            }
        }
    }
}

pub(super) fn new(
    settings: &Arc<Settings>,
    health: &Arc<HealthBoard>,
    closing: &CancellationToken,
) -> (Subscriber, Supervisor) {
    let (registrations, registered) = mpsc::unbounded_channel();
    let (reports, reported) = mpsc::unbounded_channel();
    let supervisor = Supervisor {
        settings: Arc::clone(settings),
        health: Arc::clone(health),
        closing: closing.clone(),
        incoming: registered,
        reports: reported,
        registered: Vec::new(),
        link: None,
        last_session: 0,
    };
    let subscriber = Subscriber {
        registrations,
        reports,
    };
    (subscriber, supervisor)
}

pub(super) struct Supervisor {
    settings: Arc<Settings>,
    health: Arc<HealthBoard>,
    closing: CancellationToken,
    incoming: mpsc::UnboundedReceiver<Registration>,
    reports: mpsc::UnboundedReceiver<Report>,
    registered: Vec<Registration>,
    link: Option<Link>,
    last_session: u64,
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
            let Err(trouble) = self.keep_open().await else {
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

    /// Connects and consumes until the connection is lost, or until nobody consumes any more.
    async fn keep_open(&mut self) -> Result<(), Trouble> {
        self.link = Some(Link::open(&self.settings, "consume").await?);
        // Work last: should the connection not survive the others, no work was handed out for it.
        self.registered
            .sort_by_key(|registration| registration.spec.is_work());
        for place in 0..self.registered.len() {
            self.open(place).await?;
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.tell_health();
            let (next_retry, Some(link)) = (self.next_retry(), &mut self.link) else {
                return Ok(());
            };
            tokio::select! {
                biased;
                // It tells of channels that were closed, too: that is their consumers' matter.
                event = link.events.next() => match event {
                    Some(lapin::Event::Error(error)) if !link.is_alive() => return Err(error.into()),
                    Some(_) if link.is_alive() => {}
                    _ => return Err(Trouble::Lost),
                },
                Some(report) = self.reports.recv() => self.hear(report).await?,
                Some(newcomer) = self.incoming.recv() => {
                    self.registered.push(newcomer);
                    self.open(self.registered.len() - 1).await?;
                }
                () = wait_until(next_retry) => self.retry().await?,
                _ = tick.tick() => {
                    if !link.is_alive() {
                        return Err(Trouble::Lost);
                    }
                    if self.nobody_consumes() {
                        self.drop_link().await;
                    }
                }
            }
        }
    }

    /// A consumer has left its session.
    async fn hear(&mut self, Report { session, end }: Report) -> Result<(), Trouble> {
        let mut registered = self.registered.iter();
        let Some(place) = registered.position(|registration| registration.session == session)
        else {
            return Ok(());
        };
        match end {
            End::Reopen => self.open(place).await,
            End::Trouble(_) if !self.is_connected() => Err(Trouble::Lost),
            End::Trouble(trouble) => {
                self.registered[place].lose(trouble);
                Ok(())
            }
        }
    }

    /// Opens again those whose wait is over. What they miss may have to be declared first.
    async fn retry(&mut self) -> Result<(), Trouble> {
        for place in 0..self.registered.len() {
            let waiting = self.registered[place].waiting.as_ref();
            if waiting.is_none_or(|waiting| waiting.until > Instant::now()) {
                continue;
            }
            let Some(link) = &mut self.link else {
                return Ok(());
            };
            match self.settings.prepare(&link.connection).await {
                Ok(()) => self.open(place).await?,
                Err(_) if !link.is_alive() => return Err(Trouble::Lost),
                Err(trouble) => self.registered[place].fail(trouble),
            }
        }
        Ok(())
    }

    /// Opens a session. Only a lost connection is everybody's trouble.
    async fn open(&mut self, place: usize) -> Result<(), Trouble> {
        let (Some(link), registration) = (&mut self.link, &mut self.registered[place]) else {
            return Ok(());
        };
        self.last_session += 1;
        match registration.spec.open(&link.connection).await {
            Ok(opened) => registration.start(opened, self.last_session),
            Err(_) if !link.is_alive() => return Err(Trouble::Lost),
            Err(trouble) => registration.fail(trouble),
        }
        Ok(())
    }

    fn is_connected(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_alive)
    }

    fn next_retry(&self) -> Option<Instant> {
        let waiting = self.registered.iter().filter_map(|r| r.waiting.as_ref());
        waiting.map(|waiting| waiting.until).min()
    }

    fn tell_health(&self) {
        let registered = self.registered.iter();
        let mut waiting = registered
            .filter(|registration| !registration.is_dropped())
            .filter_map(|registration| registration.waiting.as_ref());
        match waiting.next() {
            Some(Waiting { reason, .. }) => self.health.down(Half::Consuming, reason.clone()),
            None => self.health.up(Half::Consuming),
        }
    }

    fn nobody_consumes(&mut self) -> bool {
        self.registered
            .retain(|registration| !registration.is_dropped());
        self.registered.is_empty()
    }

    /// Tells who waits for a first session that there will be none until an operator acts on what
    /// all of them need.
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

async fn wait_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
