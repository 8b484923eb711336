//! What becomes of one event whose handling failed, and who hears of it. A failed undo is louder than
//! a failed step: until it is done, something stands that its saga has refused.

use events::{Event, choreography};
use tracing::{error, warn};

use crate::bus::Settlement;
use crate::failure::{Failure, UndoFailure, chain};
use crate::retry::RetryPolicy;

/// An event that failed, on its own.
pub(super) struct Failed<'a> {
    pub(super) queue: &'a str,
    pub(super) event: &'a Event,
    /// How often it had failed before.
    pub(super) attempts: u32,
}

impl Failed<'_> {
    pub(super) fn give_up(&self, failure: Failure, retry: &RetryPolicy) -> Settlement {
        let message_type = self.event.message_type();
        if choreography::is_undo(message_type) {
            let failure = UndoFailure::new(message_type, failure);
            let settlement = retry.after_failure(self.attempts, chain(&failure));
            self.alert(&failure, &settlement);
            settlement
        } else {
            let settlement = retry.after_failure(self.attempts, chain(&failure));
            self.warn(&failure, &settlement);
            settlement
        }
    }

    fn warn(&self, failure: &Failure, settlement: &Settlement) {
        let next = next(settlement);
        warn!(
            queue = self.queue,
            saga_id = %self.event.saga_id,
            message_id = %self.event.id,
            message_type = %self.event.message_type(),
            attempt = self.attempts + 1,
            failure = chain(failure),
            "handling failed; {next}"
        );
    }

    fn alert(&self, failure: &UndoFailure, settlement: &Settlement) {
        let result = match settlement {
            Settlement::Retry { .. } => "retried",
            _ => "dead_lettered",
        };
        let labels = [("queue", self.queue.to_owned()), ("result", result.into())];
        metrics::counter!("saga_undo_failures_total", &labels).increment(1);
        let next = next(settlement);
        error!(
            queue = self.queue,
            saga_id = %self.event.saga_id,
            message_id = %self.event.id,
            message_type = %self.event.message_type(),
            attempt = self.attempts + 1,
            failure = chain(failure),
            "an undo failed; {next}"
        );
    }
}

fn next(settlement: &Settlement) -> String {
    match settlement {
        Settlement::Retry { after, .. } => format!("trying again in {after:?}"),
        _ => "dead-lettering it, where it waits for an operator".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use events::{
        Message, PurchaseAndRegister, Reason, RegistrationFailed, SagaId, TicketId, Timestamp,
        UserId, UserTicketId,
    };
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn event(message: Message) -> Event {
        let saga_id = SagaId::mint();
        Event {
            id: Event::id_of(saga_id, message.message_type()),
            source: "test".into(),
            time: Timestamp::now(),
            saga_id,
            causation_id: None,
            traceparent: None,
            reply_to: None,
            deadline: None,
            message,
        }
    }

    fn undo() -> Event {
        event(Message::from(RegistrationFailed {
            user_id: UserId(1),
            ticket_id: TicketId(2),
            user_ticket_id: UserTicketId::mint(),
            reason: Reason::ALREADY_REGISTERED,
        }))
    }

    fn step() -> Event {
        event(Message::from(PurchaseAndRegister {
            user_id: UserId(1),
            ticket_id: TicketId(2),
            user_ticket_id: UserTicketId::mint(),
        }))
    }

    /// What the log holds.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("a log").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The failure text, the log and the metrics of one that failed so often before.
    fn give_up(event: &Event, attempts: u32) -> (String, String, String) {
        let (lines, recorder) = (Lines::default(), PrometheusBuilder::new().build_recorder());
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        let failed = Failed {
            queue: "q",
            event,
            attempts,
        };
        let failure = Failure::handling("no seat plan");
        let settlement = metrics::with_local_recorder(&recorder, || {
            tracing::subscriber::with_default(subscriber, || {
                failed.give_up(failure, &RetryPolicy::default())
            })
        });
        let (Settlement::Retry { failure, .. } | Settlement::DeadLetter { failure }) = settlement
        else {
            panic!("it failed")
        };
        let log = lines.0.lock().expect("a log").clone();
        let log = String::from_utf8(log).expect("text");
        (failure, log, recorder.handle().render())
    }

    #[test]
    fn a_failed_undo_is_an_error_that_names_saga_message_attempt_and_what_happens_next() {
        let undo = undo();
        for (attempts, next, result) in [
            (1, "trying again in 10s", "retried"),
            (3, "dead-lettering it", "dead_lettered"),
        ] {
            let (failure, log, metrics) = give_up(&undo, attempts);
            assert!(
                failure.starts_with("the undo on RegistrationFailed"),
                "{failure}"
            );
            assert!(failure.ends_with("no seat plan"), "{failure}");
            let (saga, id) = (undo.saga_id.to_string(), undo.id.to_string());
            let attempt = format!("attempt={}", attempts + 1);
            for part in ["ERROR", &saga, &id, &attempt, next] {
                assert!(log.contains(part), "{part} is not in {log}");
            }
            let counted = format!("saga_undo_failures_total{{queue=\"q\",result=\"{result}\"}} 1");
            assert!(metrics.contains(&counted), "{metrics}");
        }
    }

    #[test]
    fn a_failed_step_is_no_failed_undo() {
        let (failure, log, metrics) = give_up(&step(), 0);
        assert_eq!(failure, "handling failed: no seat plan");
        assert!(log.contains("WARN") && !log.contains("ERROR"), "{log}");
        assert!(!metrics.contains("saga_undo_failures_total"), "{metrics}");
    }
}
