//! Says aloud that messages lie in `saga.unrouted`, and brings this service's bindings back.
//!
//! It looks at the queue, as an operator would. A copy of each message for an alarm of its own would
//! be a second home: with `saga.unrouted` deleted, the broker would confirm what only the alarm has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, error};

use super::connection::{Link, Settings, Trouble};
use super::dead_letters::RabbitMqDeadLetters;
use super::declare::TopologyMode;
use crate::dead_letters::{DeadLetterError, DeadLetters};
use crate::failure::chain;

/// How often the queue is asked how long it is, which costs the broker next to nothing.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is told of again, and mended, while more comes.
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// So many of the oldest messages name the routing keys; `dlq list --unrouted` has all.
const PEEK: usize = 200;

pub(super) struct Alarm {
    settings: Arc<Settings>,
    letters: Option<RabbitMqDeadLetters>,
    depth: u64,
    told: Option<Instant>,
    /// How many events were seen with each failure to be routed.
    seen: BTreeMap<String, usize>,
}

impl Alarm {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            letters: None,
            depth: 0,
            told: None,
            seen: BTreeMap::new(),
        }
    }

    /// Looks again and again. A broker that is away is the others' to tell of.
    pub(super) async fn watch(mut self) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, and nobody was there to publish anything.
        tick.tick().await;
        loop {
            tick.tick().await;
            if let Err(error) = self.look().await {
                self.letters = None;
                debug!(error = chain(&error), "cannot look for unrouted messages");
            }
        }
    }

    async fn look(&mut self) -> Result<(), DeadLetterError> {
        if self.letters.is_none() {
            self.letters = Some(RabbitMqDeadLetters::connect(&self.settings).await?);
        }
        let unrouted = self.settings.names.unrouted();
        let Some(letters) = &mut self.letters else {
            return Ok(());
        };
        let depth = letters.depth(&unrouted).await?;
        let has_grown = depth > self.depth;
        let lately = self.told.is_some_and(|at| at.elapsed() < TELL_AGAIN);
        if depth == self.depth || (has_grown && lately) {
            return Ok(());
        }
        let mended = if has_grown {
            mend(&self.settings).await
        } else {
            Ok(())
        };
        // What fails here is looked at again.
        self.peek(depth).await?;
        self.depth = depth;
        if has_grown {
            self.told = Some(Instant::now());
            self.tell(mended.as_ref().err());
        }
        Ok(())
    }

    async fn peek(&mut self, depth: u64) -> Result<(), DeadLetterError> {
        self.seen.values_mut().for_each(|events| *events = 0);
        if let (Some(letters), 1..) = (&mut self.letters, depth) {
            for (failure, events) in letters.peek_unrouted(PEEK).await? {
                self.seen.insert(failure, events);
            }
        }
        for (failure, events) in &self.seen {
            metrics::gauge!("saga_unrouted_events", "failure" => failure.clone())
                .set(*events as f64);
        }
        Ok(())
    }

    fn tell(&self, failed: Option<&Trouble>) {
        let next = match (failed, self.settings.mode) {
            (Some(trouble), _) => format!("declaring the bindings again failed: {trouble}"),
            (None, TopologyMode::Declare) => "the bindings are declared again".to_owned(),
            (None, TopologyMode::Check) => "bind its queue again".to_owned(),
        };
        let kept_in = self.settings.names.unrouted();
        for (failure, &events) in self.seen.iter().filter(|(_, events)| **events > 0) {
            error!(
                events,
                messages = self.depth,
                "{failure}: its events are kept in {kept_in}; {next}; \
                 put them where they belong with `dlq requeue --unrouted`"
            );
        }
    }
}

/// Declares the topology again. A deployment that only checks it cannot.
async fn mend(settings: &Settings) -> Result<(), Trouble> {
    if settings.mode == TopologyMode::Declare {
        let link = Link::open(settings, "mend").await?;
        link.close("mended").await;
    }
    Ok(())
}
