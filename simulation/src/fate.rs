//! What strikes when. Whoever could fail asks here; here it is counted and traced.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use events::choreography::Service;
use events::{SagaId, Timestamp};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::check::Violation;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::trace::{About, Entry, Who};

/// The first instant of every world, 2026-11-22T20:00:00Z.
const BEGINNING: i64 = 1_795_377_600_000_000;

pub(crate) struct Fate {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    beginning: Instant,
    /// Nothing fails any more.
    calm: AtomicBool,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    trace: Vec<Entry>,
    faults: Faults,
    violations: Vec<Violation>,
    /// How often handling a message of this saga still fails in this service.
    troubles: BTreeMap<(&'static str, SagaId), u32>,
}

/// How often each fault struck.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(BTreeMap<Fault, u64>);

impl Faults {
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, times) in &other.0 {
            *self.0.entry(*fault).or_default() += times;
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fault::ALL
            .iter()
            .try_for_each(|fault| writeln!(f, "{:>10}  {}", self.of(*fault), fault.text()))
    }
}

impl Fate {
    /// The fate of one world; call it with the clock of that world running.
    pub(crate) fn new(plan: Plan, chance: Chance) -> Self {
        Self {
            plan,
            chance,
            beginning: Instant::now(),
            calm: AtomicBool::new(false),
            book: Mutex::default(),
        }
    }

    /// Whether this fault happens now.
    pub(crate) fn strikes(&self, fault: Fault, who: Who, about: impl Into<About>) -> bool {
        if self.is_calm() || !self.chance.hits(self.plan.rate(fault)) {
            return false;
        }
        self.note(who, fault.text(), about);
        *self.book().faults.0.entry(fault).or_default() += 1;
        true
    }

    /// From now on nothing strikes.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        self.note(Who::Operator, "=== no more faults ===", About::default());
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// A moment of network or disk, or none: not every wait lets others go first. A long one lets
    /// them overtake.
    pub(crate) async fn moment(&self) {
        match self.chance.number(0..40) {
            0 => tokio::time::sleep(self.chance.millis(20..600)).await,
            1..20 => tokio::time::sleep(self.chance.millis(1..8)).await,
            _ => {}
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(BEGINNING) + self.beginning.elapsed()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.beginning.elapsed()
    }

    pub(crate) fn note(&self, who: Who, what: &'static str, about: impl Into<About>) {
        let entry = Entry::new(self.elapsed(), who, what, about.into());
        self.book().trace.push(entry);
    }

    pub(crate) fn violated(&self, violation: Violation) {
        self.book().violations.push(violation);
    }

    /// Whether nothing was violated so far.
    pub(crate) fn is_sound(&self) -> bool {
        self.book().violations.is_empty()
    }

    /// Handling the saga's messages will fail so often in this service; `u32::MAX` is for ever.
    pub(crate) fn trouble(&self, service: Service, saga: SagaId, times: u32) {
        self.book().troubles.insert((service.0, saga), times);
    }

    /// Whether handling a message of one of these fails. One that fails alone has failed once.
    pub(crate) fn troubles(
        &self,
        service: Service,
        sagas: impl ExactSizeIterator<Item = SagaId>,
    ) -> bool {
        let troubles = &mut self.book().troubles;
        let is_alone = sagas.len() == 1;
        let mut keys = sagas.map(|saga| (service.0, saga));
        let Some(key) = keys.find(|key| troubles.contains_key(key)) else {
            return false;
        };
        if is_alone {
            match troubles.get_mut(&key) {
                Some(&mut u32::MAX) | None => {}
                Some(0 | 1) => drop(troubles.remove(&key)),
                Some(times) => *times -= 1,
            }
        }
        true
    }

    /// The cause of what is parked is mended.
    pub(crate) fn mend(&self) {
        self.book().troubles.clear();
    }

    /// Whether this saga has a message that fails until it is mended.
    pub(crate) fn is_poisoned(&self, saga: SagaId) -> bool {
        let troubles = &self.book().troubles;
        let mut poison = troubles.iter().filter(|(_, times)| **times == u32::MAX);
        poison.any(|((_, poisoned), _)| *poisoned == saga)
    }

    /// Everything that was written down.
    pub(crate) fn close(&self) -> (Vec<Entry>, Faults, Vec<Violation>) {
        let book = std::mem::take(&mut *self.book());
        (book.trace, book.faults, book.violations)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book
            .lock()
            .expect("nothing panics with the book in hand")
    }
}
