//! Recording, showing and finding what is overdue, on the embedded bus with nothing else running.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use event_replay::live::find_overdue;
use event_replay::recording::{Ending, Reader};
use events::{
    Cause, Event, Message, MessageType, PurchaseAndRegister, Reason, RegistrationFailed, SagaId,
    TicketDeleted, TicketId, TicketPurchased, Timestamp, UserId, UserTicketId,
};
use saga::Tasks;
use saga::bus::Bus;
use saga::embedded::{EmbeddedBus, EmbeddedConfig, EmbeddedJournalFile, JournalRetention};
use saga::retry::RetryPolicy;
use serde_json::Value;
use tempfile::TempDir;

/// After how long a recording is killed, in milliseconds.
const KILLS: [u64; 6] = [5, 20, 40, 80, 160, 320];

const MINUTE: Duration = Duration::from_secs(60);

/// The messages of a saga that was refused and undone, the start a minute ago.
fn saga(user: u64) -> Vec<Event> {
    let (saga_id, user_ticket_id) = (SagaId::mint(), UserTicketId::mint());
    let (user_id, ticket_id) = (UserId(user), TicketId(1));
    let (reason, start) = (Reason::ALREADY_REGISTERED, Timestamp::now() - MINUTE);
    let first = Event {
        id: Event::id_of(saga_id, MessageType::PurchaseAndRegister),
        source: "api-gateway".into(),
        time: start,
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: None,
        message: PurchaseAndRegister {
            user_id,
            ticket_id,
            user_ticket_id,
        }
        .into(),
    };
    let bought = TicketPurchased {
        user_id,
        ticket_id,
        user_ticket_id,
    };
    let failed = RegistrationFailed {
        user_id,
        ticket_id,
        user_ticket_id,
        reason: reason.clone(),
    };
    let deleted = TicketDeleted {
        user_ticket_id,
        cause: reason,
    };
    let answers: [(&str, Message); 3] = [
        ("ticket-worker", bought.into()),
        ("regist-worker", failed.into()),
        ("ticket-worker", deleted.into()),
    ];
    let mut events = vec![first];
    for (after, (source, message)) in (1..).zip(answers) {
        let cause = Cause {
            by: events.last().unwrap(),
            source,
            time: start + Duration::from_millis(after),
        };
        let answer = Event::caused(&cause, message);
        events.push(answer);
    }
    events
}

async fn journal_of(events: &[Event]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let config = EmbeddedConfig {
        path: folder.path().join("bus.db"),
        retry: RetryPolicy::default(),
        prefetch: 1,
        journal: JournalRetention::default(),
    };
    let tasks = Tasks::new();
    let bus = EmbeddedBus::open(config, &tasks).await.unwrap();
    for some in events.chunks(1_000) {
        bus.publish(some).await.unwrap();
    }
    bus.close().await;
    folder
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_event-replay"));
    command.env_remove("AMQP_URL").args(arguments);
    command.arg("--data-dir").arg(folder);
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let output = command(folder, arguments).output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = run(folder, &[arguments, &["--json"]].concat());
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Records what is selected, over what is in the file.
fn record(folder: &Path, file: &Path, selection: &[&str]) -> Value {
    let arguments = ["record", file.to_str().unwrap(), "--overwrite"];
    json(folder, &[&arguments, selection].concat())
}

fn recorded(file: &Path) -> Vec<Event> {
    let mut reader = Reader::new(BufReader::new(File::open(file).unwrap())).unwrap();
    let events = (&mut reader).map(|entry| entry.unwrap().event).collect();
    assert!(matches!(reader.into_ending(), Ending::Whole(_)));
    events
}

#[tokio::test]
async fn what_is_selected_is_recorded_and_nothing_else() {
    let (one, other) = (saga(1), saga(2));
    let folder = journal_of(&[one.clone(), other.clone()].concat()).await;
    let file = folder.path().join("r.jsonl");
    let record = |selection: &[&str]| record(folder.path(), &file, selection);
    let all = record(&[]);
    assert_eq!((&all["messages"], &all["sagas"]), (&8.into(), &2.into()));
    assert_eq!(recorded(&file), [one.clone(), other].concat());

    let id = one[0].saga_id.to_string();
    record(&["--saga", &id]);
    assert_eq!(recorded(&file), one);
    record(&["--type", "TicketDeleted"]);
    assert_eq!(recorded(&file).len(), 2);
    let middle = (one[0].time + Duration::from_micros(1_500)).to_string();
    record(&["--saga", &id, "--from", &middle]);
    assert_eq!(recorded(&file), one[2..]);
    record(&["--saga", &id, "--to", &middle]);
    assert_eq!(recorded(&file), one[..2]);
    record(&["--from", "10s"]);
    assert_eq!(recorded(&file), [], "they are a minute old");
}

#[tokio::test]
async fn a_recording_that_is_there_is_not_replaced_unless_asked_for() {
    let events = saga(1);
    let folder = journal_of(&events).await;
    let file = folder.path().join("r.jsonl");
    std::fs::write(&file, "precious").unwrap();
    let refused = run(folder.path(), &["record", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        told.contains("is there already; --overwrite replaces it"),
        "{told}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    record(folder.path(), &file, &[]);
    assert_eq!(recorded(&file), events);
}

/// As `event-replay … | head -1` does.
#[tokio::test]
async fn who_reads_no_further_ends_it_without_a_word() {
    let events = saga(1);
    let folder = journal_of(&events).await;
    let id = events[0].saga_id.to_string();
    let mut shown = command(folder.path(), &["show", &id]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = shown.stdout(writer).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), None, "ended by the signal");
}

#[tokio::test]
async fn a_recording_that_is_killed_leaves_no_file_that_looks_whole() {
    let events: Vec<_> = (0..2_000).flat_map(saga).collect();
    let folder = journal_of(&events).await;
    let file = folder.path().join("r.jsonl");
    for after in KILLS {
        let arguments = ["record", file.to_str().unwrap()];
        let mut killed = command(folder.path(), &arguments).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(after)).await;
        killed.kill().unwrap();
        killed.wait().unwrap();
        if file.exists() {
            assert_eq!(recorded(&file).len(), events.len());
            std::fs::remove_file(&file).unwrap();
        }
    }
    json(folder.path(), &["record", file.to_str().unwrap()]);
    assert_eq!(recorded(&file).len(), events.len());
}

#[tokio::test]
async fn only_what_waits_too_long_is_overdue_and_a_late_repetition_is_not() {
    let (stuck, ended, mut young) = (saga(1), saga(2), saga(3));
    young[0].time = Timestamp::now();
    let journal = [&stuck[..3], &ended, &ended[1..2], &young[..1]].concat();
    let folder = journal_of(&journal).await;
    let path = folder.path().join("bus.db");
    let journal = EmbeddedJournalFile::open(&path).await.unwrap();
    let overdue = find_overdue(&journal, Timestamp::now(), &|_| {});
    let overdue = overdue.await.unwrap();
    let found: Vec<_> = overdue.iter().map(|one| &one.message).collect();
    assert_eq!(found, [&stuck[2]]);
    assert_eq!(overdue[0].step.queue(), "ticket-worker.RegistrationFailed");
    assert_eq!(overdue[0].position.0, 3);

    let listed = json(folder.path(), &["resend", "--overdue"]);
    assert_eq!(
        (listed["sent"].as_bool(), &listed["messages"][0]["saga"]),
        (Some(false), &stuck[0].saga_id.to_string().into())
    );
    let unnamed = run(folder.path(), &["resend", "--yes"]);
    assert_eq!(unnamed.status.code(), Some(2), "which?");
}

#[tokio::test]
async fn a_saga_is_shown_as_a_diagram_of_who_told_whom() {
    let saga = saga(1);
    let folder = journal_of(&[&saga[..], &saga[1..2]].concat()).await;
    let id = saga[0].saga_id.to_string();
    let shown = String::from_utf8(run(folder.path(), &["show", &id]).stdout).unwrap();
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].ends_with("compensated (already_registered) after 3.0 ms"));
    assert!(lines[2].contains("api-gateway") && lines[2].contains("regist-worker"));
    for (line, parts) in lines[3..].iter().zip([
        ["0.0 ms", "├", " PurchaseAndRegister ", "▶"],
        ["1.0 ms", "├", " TicketPurchased ", "▶"],
        ["2.0 ms", "◀", " RegistrationFailed ", "┤"],
        ["3.0 ms", "◀", " TicketDeleted ", "┤"],
    ]) {
        let places = parts.map(|part| line.find(part).unwrap_or_else(|| panic!("{part}: {line}")));
        assert!(places.is_sorted(), "{line}");
    }
    assert!(lines[4].ends_with("2 times"));
    let drawn = run(folder.path(), &["show", &id, "--mermaid"]).stdout;
    let drawn = String::from_utf8(drawn).unwrap();
    assert!(drawn.starts_with("sequenceDiagram\n    participant P0 as api-gateway\n"));
    assert!(drawn.contains("P2->>P1: RegistrationFailed: already_registered (+2.0 ms)"));
    let nobody = run(folder.path(), &["show", &SagaId::mint().to_string()]);
    assert_eq!(nobody.status.code(), Some(1));
}
