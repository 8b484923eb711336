//! Questions inside one process: from who asks straight to who answers, past the engine and its
//! file.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use events::choreography::Service;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use crate::bus::{AskError, Question, Questions};

/// How many questions wait for a service before who asks hears that it is busy: some seconds of
/// work, which is as long as anybody waits.
const WAITING: usize = 1_024;

/// Who answers for which service; competing answerers take turns.
#[derive(Default)]
pub(super) struct QuestionDesk {
    answerers: Mutex<HashMap<Service, Vec<mpsc::Sender<Question>>>>,
    /// Tells who waits for an answerer that there is a new one.
    arrived: Notify,
}

struct Asked(mpsc::Receiver<Question>);

impl QuestionDesk {
    pub(super) fn questions(&self, service: Service) -> Box<dyn Questions> {
        let (sender, asked) = mpsc::channel(WAITING);
        let mut answerers = self.lock();
        answerers.entry(service).or_default().push(sender);
        drop(answerers);
        self.arrived.notify_waiters();
        Box::new(Asked(asked))
    }

    pub(super) async fn ask(
        &self,
        service: Service,
        text: String,
        limit: Duration,
    ) -> Result<String, AskError> {
        let no_answer = AskError::NoAnswer {
            service: service.0,
            limit,
        };
        let answer = timeout(limit, self.ask_patiently(service, text)).await;
        answer.unwrap_or(Ok(None))?.ok_or(no_answer)
    }

    /// As long as it takes; none if the question was dropped.
    async fn ask_patiently(
        &self,
        service: Service,
        text: String,
    ) -> Result<Option<String>, AskError> {
        let (answer, answered) = oneshot::channel();
        // An error says that who asked has stopped waiting.
        let question = Question::new(text, |text| drop(answer.send(text)));
        let put = self.answerer(service).await.try_send(question);
        put.map_err(|_| AskError::Unavailable {
            reason: format!("{} has too many questions to answer", service.0),
        })?;
        Ok(answered.await.ok())
    }

    /// Whose turn it is, once somebody answers for the service at all.
    async fn answerer(&self, service: Service) -> mpsc::Sender<Question> {
        loop {
            let mut arrived = pin!(self.arrived.notified());
            // Whoever arrives from now on is told of.
            arrived.as_mut().enable();
            match self.next_answerer(service) {
                Some(answerer) => return answerer,
                None => arrived.await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Service, Vec<mpsc::Sender<Question>>>> {
        // No code that holds the lock can leave the map half changed.
        self.answerers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn next_answerer(&self, service: Service) -> Option<mpsc::Sender<Question>> {
        let mut answerers = self.lock();
        let line = answerers.get_mut(&service)?;
        line.retain(|answerer| !answerer.is_closed());
        let next = line.first()?.clone();
        line.rotate_left(1);
        Some(next)
    }
}

#[async_trait]
impl Questions for Asked {
    async fn next(&mut self) -> Question {
        match self.0.recv().await {
            Some(question) => question,
            // The bus is gone; whoever waits is about to be stopped.
            None => std::future::pending().await,
        }
    }
}
