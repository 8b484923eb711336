//! The conformance suite on the embedded bus, and what only a bus in a file promises.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod conformance;
mod embedded;

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use conformance::*;
use embedded::{EmbeddedBroker, config};
use futures_util::future::join_all;
use saga::Tasks;
use saga::bus::{Bus, Health, JournalStart, PublishError, Settlement};
use saga::embedded::{EmbeddedBus, OpenError};

conformance!(EmbeddedBroker);

/// Names the file on which this test binary, started by a test, runs until it is killed.
const VICTIM: &str = "EMBEDDED_BUS_VICTIM";

/// The victim: publishes and consumes for ever, and says what it was promised.
async fn run_until_killed(path: std::path::PathBuf) {
    let tasks = Tasks::new();
    let bus: Arc<dyn Bus> = EmbeddedBus::open(config(path), &tasks).await.unwrap();
    let publishing = join_all((0..4).map(|_| async {
        loop {
            let events = many(5);
            publish(&bus, &events).await;
            events
                .iter()
                .for_each(|event| println!("\npublished {}", event.id));
        }
    }));
    let consuming = async {
        let mut consumer = consume(&bus, STEP).await;
        loop {
            let batch = consumer.receive(PREFETCH).await;
            let settlements = done(&batch);
            for event in decoded(batch) {
                println!("\nsettled {}", event.id);
            }
            consumer.settle(settlements).await;
        }
    };
    let ((), _): ((), Vec<()>) = tokio::join!(consuming, publishing);
}

fn victim(broker: &EmbeddedBroker, test: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(VICTIM, broker.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the victim once it has said so many lines, and adds what it was promised until then.
fn kill_after(mut victim: Child, lines: usize, said: &mut HashSet<String>) {
    let mut output = BufReader::new(victim.stdout.take().unwrap()).lines();
    let until_killed = output.by_ref().take(lines).map(Result::unwrap);
    said.extend(until_killed);
    victim.kill().unwrap();
    // The last line may be cut off; no id is a part of another.
    said.extend(output.map_while(Result::ok));
    victim.wait().unwrap();
}

#[tokio::test]
async fn kill_9_at_any_moment_loses_no_event_that_was_confirmed() {
    if let Some(path) = std::env::var_os(VICTIM) {
        return run_until_killed(path.into()).await;
    }
    hold(async |broker: &EmbeddedBroker| {
        let mut said = HashSet::new();
        for lines in [1, 150, 371, 633, 998] {
            let test = "kill_9_at_any_moment_loses_no_event_that_was_confirmed";
            kill_after(victim(broker, test), lines, &mut said);
        }
        let of = |what: &str| -> HashSet<String> {
            let ids = said.iter().filter_map(|line| line.strip_prefix(what));
            ids.filter(|id| id.len() == 36).map(str::to_owned).collect()
        };
        let (confirmed, mut seen) = (of("published "), of("settled "));
        assert!(confirmed.len() > 500, "{}", confirmed.len());

        let bus = broker.client().await;
        let marker = fresh();
        publish(&bus, std::slice::from_ref(&marker)).await;
        let mut consumer = consume(&bus, STEP).await;
        // What was in hand may come behind the marker.
        let mut reader = journal(&bus, JournalStart::First).await;
        let mut journaled = HashSet::new();
        while !journaled.contains(&marker.id.to_string()) {
            let page = reader.read(10_000).await.entries.into_iter();
            journaled.extend(page.map(|event| event.unwrap().id.to_string()));
        }
        assert!(journaled.is_superset(&confirmed));
        while !seen.is_superset(&journaled) {
            let batch = consumer.receive(PREFETCH).await;
            consumer.settle(done(&batch)).await;
            seen.extend(decoded(batch).iter().map(|event| event.id.to_string()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_second_process_is_refused() {
    hold(async |broker: &EmbeddedBroker| {
        broker.client().await;
        let second = EmbeddedBus::open(config(broker.path()), &Tasks::new()).await;
        assert!(matches!(second.err(), Some(OpenError::InUse { .. })));
        broker.close().await;
        broker.client().await;
    })
    .await;
}

#[tokio::test]
async fn a_request_that_the_database_refuses_fails_alone() {
    hold(async |broker: &EmbeddedBroker| {
        let bus = broker.client().await;
        let events = many(50);
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON journal
                      WHEN NEW.event ->> '$.id' = (SELECT id FROM refused)
                      BEGIN SELECT RAISE(ABORT, 'refused'); END";
        let mut sql = broker.sql().await;
        sqlx::raw_sql("CREATE TABLE refused (id TEXT)")
            .execute(&mut sql)
            .await
            .unwrap();
        let id = events[20].id.to_string();
        sqlx::query("INSERT INTO refused VALUES (?)")
            .bind(id)
            .execute(&mut sql)
            .await
            .unwrap();
        sqlx::raw_sql(refuse).execute(&mut sql).await.unwrap();

        let calls = events
            .iter()
            .map(|event| bus.publish(std::slice::from_ref(event)));
        for (index, published) in join_all(calls).await.into_iter().enumerate() {
            assert_eq!(published.is_err(), index == 20, "{index}: {published:?}");
        }
        assert!(bus.health().borrow().is_up());
        let mut consumer = consume(&bus, STEP).await;
        let expected = [&events[..20], &events[21..]].concat();
        assert_eq!(ids(&drain(consumer.as_mut(), 49).await), ids(&expected));
    })
    .await;
}

#[tokio::test]
async fn while_the_database_fails_publishing_fails_and_settlements_wait() {
    hold(async |broker: &EmbeddedBroker| {
        let bus = broker.client().await;
        let events = many(2);
        publish(&bus, &events).await;
        let mut consumer = consume(&bus, STEP).await;
        let taken = take(consumer.as_mut(), 2).await;
        let mut sql = broker.sql().await;
        let away = "ALTER TABLE queued RENAME TO away";
        sqlx::raw_sql(away).execute(&mut sql).await.unwrap();

        let park = Settlement::DeadLetter {
            failure: "x".into(),
        };
        let settlements = vec![(taken[0].tag, park), (taken[1].tag, Settlement::Done)];
        let settling = consumer.settle(settlements);
        let outage = async {
            let mut health = bus.health();
            let down = health
                .wait_for(|health| !health.is_up())
                .await
                .unwrap()
                .clone();
            let Health::Down { waiting_for } = down else {
                unreachable!()
            };
            assert!(waiting_for.contains("no such table"), "{waiting_for}");
            let refused = bus.publish(&many(1)).await;
            assert!(matches!(refused, Err(PublishError::Unavailable { .. })));
            let back = "ALTER TABLE away RENAME TO queued";
            sqlx::raw_sql(back).execute(&mut sql).await.unwrap();
            health.wait_for(Health::is_up).await.unwrap();
        };
        tokio::join!(settling, outage);

        assert_eq!(broker.dead_letters(STEP).await.len(), 1);
        let marker = fresh();
        publish(&bus, std::slice::from_ref(&marker)).await;
        assert_eq!(ids(&drain(consumer.as_mut(), 1).await), [marker.id]);
    })
    .await;
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_the_journal_lost_behind_its_reader_is_told_and_the_rest_is_read() {
    hold(async |broker: &EmbeddedBroker| {
        let bus = broker.client().await;
        let published = many(6);
        publish(&bus, &published).await;
        let mut reader = journal(&bus, JournalStart::First).await;
        let page = reader.read(2).await;
        let lose = "PRAGMA foreign_keys = OFF; DELETE FROM journal WHERE position <= 4";
        sqlx::raw_sql(lose)
            .execute(&mut broker.sql().await)
            .await
            .unwrap();

        let logged = Logged::default();
        let writer = logged.clone();
        let lines = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let _logging = tracing::subscriber::set_default(lines.finish());
        let mut reader = journal(&bus, JournalStart::After(page.position)).await;
        assert_eq!(ids(&read(reader.as_mut(), 2).await), ids(&published[4..]));
        let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
        assert!(
            text.contains("expected=3") && text.contains("found=5"),
            "{text}"
        );
    })
    .await;
}
