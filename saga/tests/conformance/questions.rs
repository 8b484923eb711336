//! Claims about questions and their answers.

use std::collections::HashSet;

use events::choreography::{REGIST_WORKER, Service, TICKET_WORKER};
use futures_util::future::join_all;
use saga::bus::{AskError, Questions};

use super::*;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for what never comes.
const IMPATIENCE: Duration = Duration::from_millis(300);

async fn answering(bus: &Arc<dyn Bus>, service: Service) -> Box<dyn Questions> {
    bus.questions(service).await.expect("questions are taken")
}

/// Answers for ever, with the question and this.
async fn answer_all(mut questions: Box<dyn Questions>, with: &str) -> ! {
    loop {
        let question = questions.next().await;
        let text = format!("{} {with}", question.text);
        question.answer(text);
    }
}

async fn ask(bus: &Arc<dyn Bus>, service: Service, question: &str) -> Result<String, AskError> {
    bus.ask(service, question.to_owned(), PATIENCE).await
}

pub(crate) async fn each_question_gets_its_own_answer_from_the_service_it_is_put_to<B: Broker>(
    broker: &B,
) {
    let (asking, answers) = (broker.client().await, broker.client().await);
    let tickets = answering(&answers, TICKET_WORKER).await;
    let regists = answering(&answers, REGIST_WORKER).await;
    let asked = join_all((0..50).map(|number| {
        let bus = Arc::clone(&asking);
        async move {
            let question = format!("question {number}");
            for (service, from) in [(TICKET_WORKER, "tickets"), (REGIST_WORKER, "regists")] {
                let answer = ask(&bus, service, &question).await.expect("an answer");
                assert_eq!(answer, format!("{question} {from}"));
            }
        }
    }));
    tokio::select! {
        _ = asked => {}
        () = async { answer_all(tickets, "tickets").await } => {}
        () = async { answer_all(regists, "regists").await } => {}
    }
}

pub(crate) async fn a_question_that_nobody_answers_is_given_up_after_its_limit<B: Broker>(
    broker: &B,
) {
    let bus = broker.client().await;
    let mut questions = answering(&bus, TICKET_WORKER).await;
    let asked = bus.ask(TICKET_WORKER, "anybody?".to_owned(), IMPATIENCE);
    let (answer, question) = tokio::join!(asked, questions.next());
    assert!(
        matches!(answer, Err(AskError::NoAnswer { .. })),
        "{answer:?}"
    );
    // Too late, and nobody's loss.
    question.answer("yes".to_owned());
    let again = async {
        let question = questions.next().await;
        question.answer("still here".to_owned());
    };
    let (answer, ()) = tokio::join!(ask(&bus, TICKET_WORKER, "and now?"), again);
    assert_eq!(answer.expect("an answer"), "still here");
}

pub(crate) async fn a_question_waits_for_a_service_that_is_just_starting<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let starting = async {
        tokio::time::sleep(IMPATIENCE).await;
        answer_all(answering(&bus, TICKET_WORKER).await, "yes").await;
    };
    tokio::select! {
        answer = ask(&bus, TICKET_WORKER, "anybody?") => {
            assert_eq!(answer.expect("an answer"), "anybody? yes");
        }
        () = starting => {}
    }
}

pub(crate) async fn replicas_share_the_questions<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let one = answering(&bus, TICKET_WORKER).await;
    let other = answering(&bus, TICKET_WORKER).await;
    let asking = async {
        // At first one of them may be the only one that is connected.
        let mut heard = HashSet::new();
        while heard.len() < 2 {
            heard.extend(ask(&bus, TICKET_WORKER, "who?").await);
        }
    };
    tokio::select! {
        () = asking => {}
        () = async { answer_all(one, "one").await } => {}
        () = async { answer_all(other, "other").await } => {}
    }
}

pub(crate) async fn questions_wait_for_no_event<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    publish_singly(&bus, &many(2 * PREFETCH)).await;
    let mut consumer = consume(&bus, STEP).await;
    // Taken and not settled: no more events come.
    take(consumer.as_mut(), PREFETCH).await;
    let mut questions = answering(&bus, STEP.service).await;
    let answering = async {
        let question = questions.next().await;
        question.answer("at once".to_owned());
    };
    let (answer, ()) = tokio::join!(ask(&bus, STEP.service, "busy?"), answering);
    assert_eq!(answer.expect("an answer"), "at once");
}
