//! The command as a user and as CI see it: what it prints, and its exit codes.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut command = Command::new(env!("CARGO_BIN_EXE_event-replay"));
    let ran = command.args(arguments).current_dir(corpus).output();
    ran.expect("the command runs")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).expect("it is text")
}

#[test]
fn a_recording_that_replays_is_0() {
    let output = run(&["verify", "competition.jsonl", "tickets.jsonl"]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    assert_eq!(said(&output).matches("  as recorded\n").count(), 2);
    let shuffled = [
        "verify",
        "--order=shuffled",
        "--duplicate=30%",
        "--crash=0.1",
        "--seed=7",
    ];
    let output = run(&[&shuffled[..], &["competition.jsonl"]].concat());
    assert_eq!(code(&output), Some(0), "{}", said(&output));
}

/// A selection that is wrong must not keep a build green for ever.
#[test]
fn a_recording_of_nothing_is_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus/competition.jsonl");
    let text = fs::read_to_string(corpus).expect("the corpus is there");
    let header = text.lines().next().expect("a header");
    let end = r#"{"end":{"messages":0,"sagas":0,"types":{}}}"#;
    let nothing = folder.path().join("nothing.jsonl");
    fs::write(&nothing, format!("{header}\n{end}\n")).expect("a file");
    let output = run(&["verify", nothing.to_str().expect("a path")]);
    assert_eq!(code(&output), Some(3), "{}", said(&output));
    assert!(
        said(&output).contains("NOTHING to replay"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_difference_is_3_and_names_saga_message_and_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let changed = folder.path().join("changed.jsonl");
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus/competition.jsonl");
    let text = fs::read_to_string(corpus).expect("the corpus is there");
    fs::write(&changed, text.replace("already_registered", "sold_out")).expect("a file");
    let changed = changed.to_str().expect("a path");
    let output = run(&["verify", changed]);
    let text = said(&output);
    assert_eq!(code(&output), Some(3), "{text}");
    for part in [
        "PurchaseAndRegister, userId 10, ticketId 1",
        "  outcome  - compensated (sold_out)\n           + compensated (already_registered)\n",
        "  regist-worker on TicketPurchased: RegistrationFailed\n",
        "    data.reason  - \"sold_out\"\n                 + \"already_registered\"\n",
        "  6 sagas DIFFER\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    let output = run(&["--json", "verify", changed]);
    assert_eq!(code(&output), Some(3));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json[0]["isAsRecorded"], false);
    let saga = &json[0]["report"]["differences"][0];
    assert_eq!(saga["recorded"]["reason"], "sold_out");
    assert_eq!(saga["replayed"]["outcome"], "compensated");
    assert_eq!(saga["findings"][0]["field"], "data.reason");
}

fn first_saga(name: &str) -> String {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let text =
        fs::read_to_string(corpus.join(format!("{name}.jsonl"))).expect("the corpus is there");
    let line = text.lines().nth(1).expect("a message");
    let line: Value = serde_json::from_str(line).expect("JSON");
    line["event"]["sagaid"].as_str().expect("an id").to_owned()
}

#[test]
fn only_the_saga_that_is_named_is_judged() {
    let output = run(&[
        "verify",
        "--saga",
        &first_saga("competition"),
        "competition.jsonl",
    ]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let of_its_group = "4 sagas may influence one another, in 1 group";
    assert!(said(&output).contains(of_its_group), "{}", said(&output));
    let other = "verify --saga 11111111-1111-8111-8111-111111111111 competition.jsonl";
    let output = run(&other.split(' ').collect::<Vec<_>>());
    assert_eq!(code(&output), Some(1));
    assert!(
        said(&output).contains("competition.jsonl: has no saga 1111"),
        "{}",
        said(&output)
    );
}

#[test]
fn what_cannot_be_read_is_1_and_wrong_usage_is_2() {
    for (arguments, status, part) in [
        (
            &["verify", "nowhere.jsonl"][..],
            1,
            "nowhere.jsonl: cannot be read: No such file",
        ),
        (
            &["coverage", "../Cargo.toml"],
            1,
            "line 1 is no header of a recording",
        ),
        (&["verify"], 2, "<FILE>"),
        (
            &["verify", "--duplicate=7", "tickets.jsonl"],
            2,
            "from 0 to 0.99",
        ),
        (
            &["coverage", "--require=everything", "tickets.jsonl"],
            2,
            "there is no such set",
        ),
        (&["--help"], 0, "Exit codes"),
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), Some(status), "{}", said(&output));
        assert!(said(&output).contains(part), "{}", said(&output));
    }
}

#[test]
fn a_cut_recording_is_used_up_to_the_cut_and_said_to_be_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let cut = folder.path().join("cut.jsonl");
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus/tickets.jsonl");
    let text = fs::read(corpus).expect("the corpus is there");
    fs::write(&cut, &text[..text.len() / 2]).expect("a file");
    let output = run(&["verify", cut.to_str().expect("a path")]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    assert!(said(&output).contains(" is cut, and the recording ends there: "));
}

#[test]
fn coverage_is_0_if_enough_and_3_if_not() {
    let all = [
        "purchase-and-register.jsonl",
        "competition.jsonl",
        "tickets.jsonl",
        "register.jsonl",
        "change-registration.jsonl",
        "cancel-registration.jsonl",
    ];
    let output = run(&[&["coverage", "--require=all", "--min=100"][..], &all].concat());
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let output = run(&["coverage", "--min=50", "tickets.jsonl"]);
    assert_eq!(code(&output), Some(3));
    assert!(said(&output).contains("That is less than the 50 % required."));
    let output = run(&["coverage", "--require=Register,success", "tickets.jsonl"]);
    assert_eq!(code(&output), Some(3));
    let text = said(&output);
    assert!(
        text.contains("Required and missing: Register/completed"),
        "{text}"
    );
    assert!(
        !text.contains("missing: PurchaseAndRegister/duplicate"),
        "{text}"
    );
}
