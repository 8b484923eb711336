//! `docs/choreography.md` is generated from the table; this fails when it is stale
//! (`BLESS=1 cargo test -p events` writes it).
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::path::PathBuf;

use events::Class;
use events::choreography::{API_GATEWAY, Outcome, Role, SAGAS, Saga, Step};

fn document() -> String {
    let mut text = "# Choreography\n\n\
        Generated from `events/src/choreography.rs`. Do not edit; change the table and run \
        `BLESS=1 cargo test -p events`.\n"
        .to_owned();
    for saga in SAGAS {
        write!(text, "\n## {}\n\n", saga.name).unwrap();
        let seconds = saga.deadline.as_secs();
        writeln!(
            text,
            "A start step seen later than {seconds} s after the command is refused.\n"
        )
        .unwrap();
        text += &diagram(saga);
        text += &steps(saga);
        text += &ends(saga);
    }
    text
}

fn diagram(saga: &Saga) -> String {
    let mut text = "```mermaid\nflowchart LR\n".to_owned();
    let start = saga
        .steps
        .iter()
        .find(|step| step.on == saga.start)
        .unwrap();
    writeln!(
        text,
        "    {}([{}]) -->|{}| {}",
        API_GATEWAY.0,
        API_GATEWAY.0,
        saga.start,
        node(start)
    )
    .unwrap();
    for step in saga.steps {
        for output in step.outputs() {
            let next: Vec<_> = saga.steps.iter().filter(|next| next.on == output).collect();
            for next in &next {
                writeln!(text, "    {} -->|{output}| {}", node(step), node(next)).unwrap();
            }
            if let Some(outcome) = saga.outcome_of(output) {
                let end = outcome_name(outcome);
                writeln!(text, "    {} -->|{output}| {end}(({end}))", node(step)).unwrap();
            }
        }
    }
    text + "```\n\n"
}

fn node(step: &Step) -> String {
    format!(
        "{}.{}[{}<br/>on {}]",
        step.service.0, step.on, step.service.0, step.on
    )
}

fn steps(saga: &Saga) -> String {
    let mut text =
        "| queue | reacts with | refuses with | undoes | within |\n|---|---|---|---|---|\n"
            .to_owned();
    for step in saga.steps {
        let (refusal, undoes) = match step.role {
            Role::Do { refusal } => (format!("`{refusal}`"), String::new()),
            Role::Finish => ("cannot".to_owned(), String::new()),
            Role::Undo { of } => (String::new(), format!("what it did on `{of}`")),
        };
        let (queue, emits, within) = (step.queue(), step.emits, step.within.as_secs());
        writeln!(
            text,
            "| `{queue}` | `{emits}` | {refusal} | {undoes} | {within} s |"
        )
        .unwrap();
    }
    text
}

fn ends(saga: &Saga) -> String {
    let mut text = "\n| ends with | outcome |\n|---|---|\n".to_owned();
    for end in saga.ends {
        assert_eq!(end.on.class(), Class::Event, "only an event can end a saga");
        writeln!(text, "| `{}` | {} |", end.on, outcome_name(end.outcome)).unwrap();
    }
    text
}

fn outcome_name(outcome: Outcome) -> &'static str {
    events::progress::Status::from(outcome).as_str()
}

#[test]
fn the_generated_document_is_up_to_date() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/choreography.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, document()).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(checked_in, document(), "run BLESS=1 cargo test -p events");
}
