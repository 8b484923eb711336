//! One life of one process: from its start until it is killed, at a moment that the dice choose.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::fate::Fate;
use crate::fault::Fault;
use crate::trace::{About, Who};

pub(crate) struct Life {
    pub(crate) fate: Arc<Fate>,
    pub(crate) who: Who,
    killed: Notify,
    /// Its database says nothing until then.
    silent_until: Mutex<Option<Instant>>,
}

impl Life {
    pub(crate) fn new(fate: Arc<Fate>, who: Who) -> Arc<Self> {
        Arc::new(Self {
            fate,
            who,
            killed: Notify::new(),
            silent_until: Mutex::default(),
        })
    }

    /// A place where the process may be killed. If it is, this does not return: whoever waits for
    /// [`Self::ended`] drops every task of the process where it stands.
    pub(crate) async fn may_end(&self, here: Fault) {
        if matches!(self.who, Who::Replica { .. })
            && self.fate.strikes(here, self.who, About::default())
        {
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn fall_silent(&self, time: Duration) {
        *self.silent_until.lock().expect("nothing panics here") = Some(Instant::now() + time);
    }

    /// Waits until its database speaks to it again, if that is silent.
    pub(crate) async fn silence(&self) {
        let until = *self.silent_until.lock().expect("nothing panics here");
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    pub(crate) async fn ended(&self) {
        self.killed.notified().await;
    }

    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        self.fate.strikes(fault, self.who, About::default())
    }

    pub(crate) fn note(&self, what: &'static str, about: impl Into<About>) {
        self.fate.note(self.who, what, about);
    }
}
