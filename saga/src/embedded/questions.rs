//! Questions inside one process: from who asks straight to who answers, past the engine and its
//! file.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use events::choreography::Service;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::bus::{AskError, Question, Questions};

/// How many questions wait for a service before who asks hears that it is busy: some seconds of
/// work, which is as long as anybody waits.
const WAITING: usize = 1_024;

/// Who answers for which service; competing answerers take turns.
#[derive(Default)]
pub(super) struct QuestionDesk(Mutex<HashMap<Service, Vec<mpsc::Sender<Question>>>>);

struct Asked(mpsc::Receiver<Question>);

impl QuestionDesk {
    pub(super) fn questions(&self, service: Service) -> Box<dyn Questions> {
        let (sender, asked) = mpsc::channel(WAITING);
        let mut answerers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answerers.entry(service).or_default().push(sender);
        Box::new(Asked(asked))
    }

    pub(super) async fn ask(
        &self,
        service: Service,
        text: String,
        limit: Duration,
    ) -> Result<String, AskError> {
        let (answer, answered) = oneshot::channel();
        // An error says that who asked has stopped waiting.
        let question = Question::new(text, |text| drop(answer.send(text)));
        let unavailable = |reason: &str| AskError::Unavailable {
            reason: format!("{} {reason}", service.0),
        };
        let answerer = self.next_answerer(service);
        let answerer = answerer.ok_or_else(|| unavailable("does not answer questions yet"))?;
        let put = answerer.try_send(question);
        put.map_err(|_| unavailable("has too many questions to answer"))?;
        let no_answer = AskError::NoAnswer {
            service: service.0,
            limit,
        };
        match timeout(limit, answered).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(_)) | Err(_) => Err(no_answer),
        }
    }

    fn next_answerer(&self, service: Service) -> Option<mpsc::Sender<Question>> {
        let mut answerers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
