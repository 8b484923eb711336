//! Answers questions about what a service owns ([`events::query`]), beside its saga work and
//! without waiting for it.

pub mod postgres;
pub mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::UserId;
use events::query::{Answer, Listing, Object, Page, Query, QueryOf};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::bus::{Bus, Question, Questions, TopologyError};
use crate::database::limited;
use crate::failure::{Failure, chain};
use crate::tasks::Tasks;

/// How many questions are answered at once. The rest of the pool's connections is the saga's.
const AT_ONCE: usize = 4;
/// Nobody waits longer for an answer. What takes longer gives its connection back.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The objects of one type, as their owner keeps them.
#[async_trait]
pub trait Reads<O: Object>: Send + Sync + 'static {
    /// Newest first, without what is deleted.
    async fn list(&self, filter: &O::Filter, page: Page) -> Result<Listing<O>, Failure>;

    /// The user who has it, or had it before it was deleted.
    async fn user_of(&self, id: O::Id) -> Result<Option<UserId>, Failure>;
}

#[async_trait]
impl<O: Object, R: Reads<O> + ?Sized> Reads<O> for Box<R> {
    async fn list(&self, filter: &O::Filter, page: Page) -> Result<Listing<O>, Failure> {
        (**self).list(filter, page).await
    }

    async fn user_of(&self, id: O::Id) -> Result<Option<UserId>, Failure> {
        (**self).user_of(id).await
    }
}

/// Answers until the tasks are stopped.
pub async fn start<O: Object>(
    reads: impl Reads<O>,
    bus: &Arc<dyn Bus>,
    tasks: &Tasks,
) -> Result<JoinHandle<()>, TopologyError> {
    let questions = bus.questions(O::OWNER).await?;
    let (reads, stop) = (Arc::new(reads), tasks.stop_token());
    let answering = answer_all(reads, questions, tasks.clone());
    Ok(
        tasks.spawn(format!("answers of {}", O::OWNER.0), async move {
            let _: Option<()> = stop.run_until_cancelled(answering).await;
        }),
    )
}

async fn answer_all<O: Object>(
    reads: Arc<impl Reads<O>>,
    mut questions: Box<dyn Questions>,
    tasks: Tasks,
) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        // Only closing the semaphore, which nobody does, ends this.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (question, reads) = (questions.next().await, Arc::clone(&reads));
        tasks.spawn(format!("an answer of {}", O::OWNER.0), async move {
            answer(reads.as_ref(), question).await;
            drop(place);
        });
    }
}

async fn answer<O: Object>(reads: &impl Reads<O>, question: Question) {
    let query: QueryOf<O> = match serde_json::from_str(&question.text) {
        Ok(query) => query,
        Err(error) => {
            let (service, question) = (O::OWNER.0, &question.text);
            warn!(service, %error, question, "a question is not understood; it stays unanswered");
            return;
        }
    };
    let read = limited(ANSWER_LIMIT, read(reads, query)).await;
    let answer = match read {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => unavailable(O::OWNER.0, &chain(&failure)),
        Err(_) => unavailable(O::OWNER.0, "it takes too long"),
    };
    let json = serde_json::to_string(&answer).expect("an object has string keys");
    question.answer(json);
}

async fn read<O: Object>(reads: &impl Reads<O>, query: QueryOf<O>) -> Result<Answer<O>, Failure> {
    Ok(match query {
        Query::Find(id) => {
            let mut found = reads.list(&O::only(id), Page::ONE).await?.list;
            found.pop().map_or(Answer::NotFound, Answer::Found)
        }
        Query::OwnerOf(id) => {
            let user = reads.user_of(id).await?;
            user.map_or(Answer::NotFound, Answer::OwnedBy)
        }
        Query::List { filter, page } => Answer::Listed(reads.list(&filter, page).await?),
    })
}

fn unavailable<O>(service: &'static str, reason: &str) -> Answer<O> {
    warn!(service, reason, "a question cannot be answered now");
    Answer::Unavailable
}
