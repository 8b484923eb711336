//! Participants with changed code are held against the corpus: what they do otherwise shows as a
//! difference that names the saga, the message and the field.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use event_replay::recording::Reader;
use event_replay::verify::{Cast, Options, Order, Report, SagaDifference, verify};
use events::choreography::{REGIST_WORKER, Service};
use events::{
    Event, EventId, Message, MessageType, Reason, RegistId, RegistrationCompleted,
    RegistrationFailed, SagaId, UserId,
};
use regist_worker::decide::{Effect as RegistEffect, RegistDecider, Registrations};
use saga::decision::{Decider, Moment, Unexpected, Verdict};
use saga::failure::Failure;
use saga::participant::Participant;
use serde_json::json;
use ticket_worker::decide::{Effect as TicketEffect, TicketDecider, Tickets};

fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    folder.join(format!("{name}.jsonl"))
}

fn replay(name: &str, cast: Cast, options: &Options) -> Report {
    let recording = File::open(path(name)).expect("the corpus is there");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let mut silent = |_| {};
    let verified = verify(recording, cast, options, &mut silent);
    let verified = runtime.expect("a runtime").block_on(verified);
    verified.expect("it can be read").report
}

/// The messages of a type in a recording, in the order in which they were decided.
fn recorded(name: &str, message_type: MessageType) -> Vec<Event> {
    let file = std::io::BufReader::new(File::open(path(name)).expect("the corpus is there"));
    let entries = Reader::new(file).expect("a recording");
    let mut events: Vec<Event> = entries
        .map(|entry| entry.expect("a message").event)
        .filter(|event| event.message_type() == message_type)
        .collect();
    events.sort_by_key(|event| event.time);
    events
}

fn of(report: &Report, saga: SagaId) -> &SagaDifference {
    let mut found = report.differences.iter();
    let found = found.find(|difference| difference.saga == saga);
    found.unwrap_or_else(|| panic!("{saga} is not among {:?}", report.differences))
}

fn accepted(refused: &RegistrationFailed, moment: Moment) -> Message {
    RegistrationCompleted {
        regist_id: RegistId(moment.fresh_id),
        user_id: refused.user_id,
        ticket_id: refused.ticket_id,
        user_ticket_id: refused.user_ticket_id,
    }
    .into()
}

/// Registrations with the shipped rules, and a change of what they decide.
struct ChangedRegist<F>(F);

impl<F> Decider for ChangedRegist<F>
where
    F: Fn(&Event, Verdict<RegistEffect>, Moment) -> Verdict<RegistEffect> + Send + Sync + 'static,
{
    const SERVICE: Service = REGIST_WORKER;
    type Facts = Registrations;
    type Effect = RegistEffect;

    fn decide(
        &self,
        event: &Event,
        facts: &mut Registrations,
        moment: Moment,
    ) -> Result<Verdict<RegistEffect>, Unexpected> {
        let verdict = RegistDecider.decide(event, facts, moment)?;
        Ok((self.0)(event, verdict, moment))
    }
}

/// Says that the ticket is deleted, and does not delete it.
struct DeletesNothing;

impl Decider for DeletesNothing {
    const SERVICE: Service = TicketDecider::SERVICE;
    type Facts = Tickets;
    type Effect = TicketEffect;

    fn decide(
        &self,
        event: &Event,
        facts: &mut Tickets,
        moment: Moment,
    ) -> Result<Verdict<TicketEffect>, Unexpected> {
        TicketDecider.decide(event, facts, moment)
    }

    fn undo(
        &self,
        event: &Event,
        done: Option<&Message>,
        facts: &mut Tickets,
        moment: Moment,
    ) -> Result<Verdict<TicketEffect>, Unexpected> {
        let verdict = TicketDecider.undo(event, done, facts, moment)?;
        Ok(Verdict {
            effect: None,
            ..verdict
        })
    }
}

/// A user who is refused twice is registered.
fn refusals_accepted_on_the_second_try() -> Cast {
    let refused: Arc<Mutex<HashMap<UserId, u32>>> = Arc::default();
    let rules = move || {
        let refused = Arc::clone(&refused);
        ChangedRegist(
            move |_: &Event, verdict: Verdict<RegistEffect>, moment: Moment| {
                let Message::RegistrationFailed(failed) = &verdict.reply else {
                    return verdict;
                };
                let mut refused = refused.lock().expect("nothing panics here");
                let times = refused.entry(failed.user_id).or_default();
                *times += 1;
                if *times != 2 {
                    return verdict;
                }
                Verdict {
                    reply: accepted(failed, moment),
                    effect: None,
                }
            },
        )
    };
    Cast::with_rules(|| TicketDecider, rules)
}

#[test]
fn a_refusal_accepted_on_the_second_try_names_the_saga_the_message_and_the_field() {
    let refusals = recorded("competition", MessageType::RegistrationFailed);
    let second_of = |user| {
        let mut of_user = refusals
            .iter()
            .filter(|event| event.message.particulars().user_id == Some(UserId(user)));
        of_user.nth(1).expect("three of four are refused").saga_id
    };
    let report = replay(
        "competition",
        refusals_accepted_on_the_second_try(),
        &Options::default(),
    );
    assert_eq!(report.different, 2, "one of each user, and nobody else");
    for user in [10, 11] {
        let difference = of(&report, second_of(user));
        let text = difference.to_string();
        assert!(
            text.contains("outcome  - compensated (already_registered)"),
            "{text}"
        );
        assert!(text.contains("+ completed"), "{text}");
        let reason = difference
            .findings
            .iter()
            .find(|finding| finding.field == "data.reason")
            .unwrap_or_else(|| panic!("{text}"));
        assert_eq!(reason.at, "regist-worker on TicketPurchased");
        assert_eq!(reason.message, "RegistrationFailed");
        assert_eq!(reason.recorded, json!("already_registered"));
        assert!(reason.replayed.is_null());
        let state = |finding: &&event_replay::verify::Finding| {
            finding.at == "state of regist-worker" && finding.replayed.is_null()
        };
        let all = report.differences.iter().flat_map(|saga| &saga.findings);
        assert!(
            all.clone().any(|finding| state(&finding)),
            "it said so and did nothing"
        );
    }
}

#[test]
fn it_shows_in_any_order_because_two_of_one_user_win() {
    for order in [Order::Reversed, Order::Shuffled] {
        let options = Options {
            order,
            ..Options::default()
        };
        let report = replay(
            "competition",
            refusals_accepted_on_the_second_try(),
            &options,
        );
        let all = report.differences.iter().flat_map(|saga| &saga.findings);
        let fields: HashSet<&str> = all.map(|finding| finding.field.as_str()).collect();
        assert!(
            fields.contains("needs") && fields.contains("how many win"),
            "{fields:?}"
        );
        assert!(!report.is_as_recorded());
    }
}

#[test]
fn nobody_winning_shows_in_any_order() {
    let rules = || {
        ChangedRegist(|_: &Event, verdict: Verdict<RegistEffect>, _: Moment| {
            let Message::RegistrationCompleted(completed) = &verdict.reply else {
                return verdict;
            };
            let refused = RegistrationFailed {
                user_id: completed.user_id,
                ticket_id: completed.ticket_id,
                user_ticket_id: completed.user_ticket_id,
                reason: Reason::ALREADY_REGISTERED,
            };
            Verdict {
                reply: refused.into(),
                effect: None,
            }
        })
    };
    for order in [Order::Recorded, Order::Reversed, Order::Shuffled] {
        let options = Options {
            order,
            ..Options::default()
        };
        let cast = Cast::with_rules(|| TicketDecider, rules);
        let report = replay("competition", cast, &options);
        let all = report.differences.iter().flat_map(|saga| &saga.findings);
        let unjustified = all.filter(|finding| finding.field == "needs");
        assert_eq!(
            unjustified.count(),
            8,
            "{order:?}: none of them is registered"
        );
    }
}

/// Answers a refused event otherwise when it is delivered again.
struct DecidesAgain {
    inner: Box<dyn Participant>,
    seen: Arc<Mutex<HashSet<EventId>>>,
}

#[async_trait]
impl Participant for DecidesAgain {
    async fn react(&self, events: &[Event]) -> Result<Vec<Event>, Failure> {
        let mut replies = self.inner.react(events).await?;
        for (event, reply) in events.iter().zip(&mut replies) {
            let is_new = self
                .seen
                .lock()
                .expect("nothing panics here")
                .insert(event.id);
            if let (false, Message::RegistrationFailed(refused)) = (is_new, &reply.message) {
                reply.message = accepted(refused, Moment::now());
            }
        }
        Ok(replies)
    }
}

#[test]
fn another_answer_on_the_second_delivery_is_a_difference_whatever_the_order() {
    for order in [Order::Recorded, Order::Reversed, Order::Shuffled] {
        let seen: Arc<Mutex<HashSet<EventId>>> = Arc::default();
        let cast = Cast::as_shipped().wrapped(REGIST_WORKER, move |inner| {
            let seen = Arc::clone(&seen);
            Box::new(DecidesAgain { inner, seen })
        });
        let options = Options {
            order,
            duplicate: 0.9,
            ..Options::default()
        };
        let report = replay("competition", cast, &options);
        assert!(report.different > 0, "{order:?}");
        let all = report.differences.iter().flat_map(|saga| &saga.findings);
        let again = "regist-worker on TicketPurchased, delivered again";
        let reason = all.filter(|finding| finding.at == again && finding.field == "data.reason");
        assert!(reason.count() > 0, "{order:?}: {:?}", report.differences);
    }
}

#[test]
fn a_state_that_is_not_what_was_said_is_a_difference() {
    let cast = Cast::with_rules(|| DeletesNothing, || RegistDecider);
    let report = replay("competition", cast, &Options::default());
    assert_eq!(report.different, 6, "three of four of each user are undone");
    for difference in &report.differences {
        assert_eq!(difference.recorded, difference.replayed);
        let [finding] = difference.findings.as_slice() else {
            panic!("{difference}");
        };
        assert_eq!(finding.at, "state of ticket-worker");
        assert_eq!(finding.recorded["deleted"], json!(true), "what was said");
        assert_eq!(finding.replayed["deleted"], json!(false), "what was found");
    }
}
