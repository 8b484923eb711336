//! A database that is sometimes away, sometimes hangs, and sometimes does what it was asked and
//! then says that it did not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use events::choreography::Service;
use events::{Event, SagaId};
use saga::decision::{Changes, Decider, Snapshot};
use saga::failure::Failure;
use saga::store::Store;
use tokio::time::Instant;

use crate::fault::Fault;
use crate::life::Life;
use crate::trace::Who;

/// Whether a service's database is away, the same for each of its replicas.
#[derive(Clone)]
pub(crate) struct Outage {
    pub(crate) service: Service,
    until: Arc<Mutex<Option<Instant>>>,
}

impl Outage {
    pub(crate) fn of(service: Service) -> Self {
        Self {
            service,
            until: Arc::default(),
        }
    }

    pub(crate) fn last(&self, time: Duration) {
        *self.until.lock().expect("nothing panics here") = Some(Instant::now() + time);
    }

    pub(crate) fn end(&self) {
        *self.until.lock().expect("nothing panics here") = None;
    }

    pub(crate) fn who(&self) -> Who {
        Who::Database(self.service.0)
    }

    fn lasts(&self) -> bool {
        let until = *self.until.lock().expect("nothing panics here");
        until.is_some_and(|until| Instant::now() < until)
    }
}

pub(crate) struct SimulatedStore<S> {
    pub(crate) inner: S,
    pub(crate) outage: Outage,
    pub(crate) life: Arc<Life>,
}

/// Not what a database says, but of the kind that it means.
fn away() -> Failure {
    Failure::Unavailable("simulated".into())
}

impl<S> SimulatedStore<S> {
    /// Whether this statement gets an answer that says the database is away.
    fn refuses(&self, fault: Fault) -> bool {
        self.outage.lasts() || self.life.strikes(fault)
    }

    /// Fails if a message of one of these sagas is one that cannot be handled.
    fn may_trouble<D: Decider>(
        &self,
        sagas: impl ExactSizeIterator<Item = SagaId>,
    ) -> Result<(), Failure> {
        match self.life.fate.troubles(D::SERVICE, sagas) {
            true => Err(Failure::handling("simulated")),
            false => Ok(()),
        }
    }

    /// Where a database may fall silent: it neither answers this process nor refuses, for a while.
    async fn may_hang(&self, fault: Fault) {
        if self.life.strikes(fault) {
            let silence = self.life.fate.chance.millis(1_000..90_000);
            self.life.fall_silent(silence);
        }
        self.life.silence().await;
    }
}

impl<S> SimulatedStore<S> {
    /// A batch of undos may be two transactions, as it is on PostgreSQL: the tombstones of those
    /// that came first, and then the others.
    async fn write<D: Decider>(&self, changes: &Changes<D::Effect>) -> Result<(), Failure>
    where
        S: Store<D>,
        D::Effect: Clone,
    {
        let Changes {
            decided,
            undone,
            effects,
        } = changes;
        if decided.is_empty() || undone.is_empty() || !self.life.strikes(Fault::CommittedInPart) {
            return self.inner.commit(changes).await;
        }
        let tombstones = Changes {
            decided: decided.clone(),
            undone: Vec::new(),
            effects: Vec::new(),
        };
        let undos = Changes {
            decided: Vec::new(),
            undone: undone.clone(),
            effects: effects.clone(),
        };
        self.inner.commit(&tombstones).await?;
        self.life.may_end(Fault::CrashAfterCommit).await;
        if self.refuses(Fault::CommitRefused) {
            return Err(away());
        }
        self.inner.commit(&undos).await
    }
}

#[async_trait]
impl<D: Decider, S: Store<D>> Store<D> for SimulatedStore<S>
where
    D::Effect: Clone,
{
    async fn load(&self, events: &[Event]) -> Result<Snapshot<D::Facts>, Failure> {
        self.life.fate.moment().await;
        self.life.silence().await;
        if self.refuses(Fault::ReadRefused) {
            return Err(away());
        }
        let sagas = events.iter().map(|event| event.saga_id);
        self.may_trouble::<D>(sagas)?;
        let snapshot = self.inner.load(events).await;
        self.life.fate.moment().await;
        self.life.may_end(Fault::CrashAfterLoad).await;
        snapshot
    }

    async fn commit(&self, changes: &Changes<D::Effect>) -> Result<(), Failure> {
        self.life.fate.moment().await;
        self.may_hang(Fault::DatabaseHung).await;
        if self.refuses(Fault::CommitRefused) {
            return Err(away());
        }
        // What was decided unread shows its trouble only now.
        let sagas = changes.decided.iter().map(|row| row.saga_id);
        self.may_trouble::<D>(sagas)?;
        self.write::<D>(changes).await?;
        for row in changes.decided.iter().chain(&changes.undone) {
            let what = match row.undo {
                Some(_) => "committed the undo",
                None => "committed the step",
            };
            self.life.note(what, row.saga_id);
        }
        self.life.may_end(Fault::CrashAfterCommit).await;
        self.may_hang(Fault::CommitHung).await;
        self.life.fate.moment().await;
        if self.life.strikes(Fault::CommitAmbiguous) {
            return Err(away());
        }
        Ok(())
    }
}
