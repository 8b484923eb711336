//! Takes the questions to one service from its queue and sends the answers back.

use std::sync::Arc;

use async_trait::async_trait;
use events::choreography::Service;
use lapin::BasicProperties;
use lapin::message::Delivery;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Line;
use crate::Tasks;
use crate::bus::{Question, Questions};
use crate::rabbitmq::connection::{Settings, Trouble};
use crate::rabbitmq::topology::{self, QueueDefinition};
use crate::retry::Backoff;

/// How many questions wait for an answerer that is busy. More are dropped: by the time they were
/// answered nobody would wait for them any more.
const WAITING: usize = 1_024;

struct Asked(mpsc::Receiver<Question>);

struct AnswererTask {
    settings: Arc<Settings>,
    queue: QueueDefinition,
    questions: mpsc::Sender<Question>,
}

/// An answer, and where it goes.
struct Sent {
    to: String,
    properties: BasicProperties,
    text: String,
}

/// Starts taking questions; until the broker is there, none come.
pub(in crate::rabbitmq) fn answer(
    service: Service,
    settings: &Arc<Settings>,
    closing: &CancellationToken,
    tasks: &Tasks,
) -> Box<dyn Questions> {
    let (sender, asked) = mpsc::channel(WAITING);
    let task = AnswererTask {
        settings: Arc::clone(settings),
        queue: topology::questions(&settings.names, service),
        questions: sender,
    };
    let closing = closing.clone();
    tasks.spawn(format!("questions to {}", service.0), async move {
        let _: Option<()> = closing.run_until_cancelled(task.run()).await;
    });
    Box::new(Asked(asked))
}

impl AnswererTask {
    async fn run(self) {
        let mut backoff = Backoff::new();
        while !self.questions.is_closed() {
            let (trouble, served) = match self.open().await {
                Err(trouble) => (trouble, false),
                Ok(line) => (self.serve(line).await, true),
            };
            if served {
                backoff = Backoff::new();
            }
            warn!(queue = self.queue.name, error = %trouble, "no questions are answered until the broker is back");
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn open(&self) -> Result<Line, Trouble> {
        let queue = &self.queue;
        Line::open(&self.settings, "answer", &queue.name, Some(queue)).await
    }

    /// Until the connection is lost, or nobody answers any more.
    async fn serve(&self, mut line: Line) -> Trouble {
        let (answers, mut answered) = mpsc::unbounded_channel();
        loop {
            let done = tokio::select! {
                question = line.next() => question.map(|question| self.hand_over(&question, &answers)),
                Some(Sent { to, properties, text }) = answered.recv() => {
                    line.send(&to, &text, properties).await
                }
                () = self.questions.closed() => Err(Trouble::Lost),
            };
            if let Err(trouble) = done {
                return trouble;
            }
        }
    }

    fn hand_over(&self, question: &Delivery, answers: &mpsc::UnboundedSender<Sent>) {
        let properties = &question.properties;
        let (Some(to), Ok(text)) = (
            properties.reply_to(),
            String::from_utf8(question.data.clone()),
        ) else {
            warn!(
                queue = self.queue.name,
                "a question names nobody to answer, or is no text"
            );
            return;
        };
        let (to, answers) = (to.to_string(), answers.clone());
        let mut properties = BasicProperties::default();
        if let Some(id) = question.properties.correlation_id() {
            properties = properties.with_correlation_id(id.clone());
        }
        let reply = move |text| {
            // An error says that the connection is lost, and with it the way back.
            let _ = answers.send(Sent {
                to,
                properties,
                text,
            });
        };
        if self.questions.try_send(Question::new(text, reply)).is_err() {
            warn!(
                queue = self.queue.name,
                "too many questions wait; one is dropped"
            );
        }
    }
}

#[async_trait]
impl Questions for Asked {
    async fn next(&mut self) -> Question {
        match self.0.recv().await {
            Some(question) => question,
            // The bus is closed; whoever waits is about to be stopped.
            None => std::future::pending().await,
        }
    }
}
