//! Puts questions and hands the answers to who asked. Connects when the first question comes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use events::choreography::Service;
use lapin::BasicProperties;
use lapin::message::Delivery;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::Line;
use crate::bus::AskError;
use crate::rabbitmq::connection::{Settings, Trouble, shortened};

/// The broker's own name for "straight back to this channel".
const STRAIGHT_BACK: &str = "amq.rabbitmq.reply-to";
/// How many questions wait to be sent before who asks hears that there is no room.
const WAITING: usize = 1_024;

/// The gateway's end: clones put their questions on the same connection.
pub(in crate::rabbitmq) struct Asker {
    settings: Arc<Settings>,
    asked: mpsc::Sender<Asked>,
}

struct Asked {
    queue: String,
    text: String,
    limit: Duration,
    answer: oneshot::Sender<Result<String, AskError>>,
}

pub(in crate::rabbitmq) struct AskerTask {
    settings: Arc<Settings>,
    asked: mpsc::Receiver<Asked>,
    closing: CancellationToken,
}

pub(in crate::rabbitmq) fn asker(
    settings: &Arc<Settings>,
    closing: &CancellationToken,
) -> (Asker, AskerTask) {
    let (sender, asked) = mpsc::channel(WAITING);
    let asker = Asker {
        settings: Arc::clone(settings),
        asked: sender,
    };
    let task = AskerTask {
        settings: Arc::clone(settings),
        asked,
        closing: closing.clone(),
    };
    (asker, task)
}

impl Asker {
    pub(in crate::rabbitmq) async fn ask(
        &self,
        service: Service,
        text: String,
        limit: Duration,
    ) -> Result<String, AskError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            queue: self.settings.names.questions(service),
            text,
            limit,
            answer,
        };
        let put = self.asked.try_send(asked);
        put.map_err(|_| unavailable("too many questions wait, or the bus is closed"))?;
        match timeout(limit, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("the connection was lost")),
            Err(_) => Err(AskError::NoAnswer {
                service: service.0,
                limit,
            }),
        }
    }
}

fn unavailable(reason: &str) -> AskError {
    AskError::Unavailable {
        reason: reason.to_owned(),
    }
}

impl AskerTask {
    pub(in crate::rabbitmq) async fn run(mut self) {
        let closing = self.closing.clone();
        let _: Option<()> = closing.run_until_cancelled(self.work()).await;
    }

    /// Whoever asks while there is no connection makes us try one.
    async fn work(&mut self) {
        while let Some(first) = self.asked.recv().await {
            let Err(trouble) = self.serve(first).await else {
                return;
            };
            warn!(error = %trouble, "no questions can be put until the broker is back");
        }
    }

    /// Sends questions and hands out answers until the connection is lost. Who waits then hears so.
    async fn serve(&mut self, first: Asked) -> Result<(), Trouble> {
        let opening = Line::open(&self.settings, "ask", STRAIGHT_BACK, None).await;
        let mut line = match opening {
            Ok(line) => line,
            Err(trouble) => {
                self.refuse(first, &trouble);
                return Err(trouble);
            }
        };
        let mut waiting = HashMap::new();
        put(&mut line, &mut waiting, first).await?;
        loop {
            tokio::select! {
                answer = line.next() => hand_over(&mut waiting, &answer?),
                asked = self.asked.recv() => match asked {
                    Some(asked) => put(&mut line, &mut waiting, asked).await?,
                    None => return Ok(()),
                }
            }
        }
    }

    /// Everybody who asked while there was no connection hears why.
    fn refuse(&mut self, first: Asked, trouble: &Trouble) {
        let mut next = Some(first);
        while let Some(asked) = next {
            // An error says that who asked has stopped waiting.
            let _ = asked.answer.send(Err(unavailable(&trouble.to_string())));
            next = self.asked.try_recv().ok();
        }
    }
}

type Waiting = HashMap<String, oneshot::Sender<Result<String, AskError>>>;

async fn put(line: &mut Line, waiting: &mut Waiting, asked: Asked) -> Result<(), Trouble> {
    // Those who stopped waiting make room for this one.
    waiting.retain(|_, answer| !answer.is_closed());
    let id = Uuid::now_v7().to_string();
    let expires = asked.limit.as_millis().to_string();
    let properties = BasicProperties::default()
        .with_message_id(shortened(&id))
        .with_correlation_id(shortened(&id))
        .with_reply_to(STRAIGHT_BACK.into())
        .with_expiration(shortened(&expires));
    waiting.insert(id, asked.answer);
    line.send(&asked.queue, &asked.text, properties).await
}

fn hand_over(waiting: &mut Waiting, answer: &Delivery) {
    let id = answer.properties.correlation_id().as_ref();
    let asked = id.and_then(|id| waiting.remove(id.as_str()));
    if let (Some(asked), Ok(text)) = (asked, String::from_utf8(answer.data.clone())) {
        // An error says that who asked has stopped waiting.
        let _ = asked.send(Ok(text));
    }
}
