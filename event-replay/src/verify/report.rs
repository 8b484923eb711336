//! What a replay found, to be read by a person or by a program.

use std::fmt;

use events::choreography::Outcome;
use events::progress::Status;
use events::{Reason, SagaId};
use serde::Serialize;
use serde_json::Value;

/// So many sagas are kept with their differences; more are only counted. Who has more to read than
/// that has broken everything.
pub(super) const KEPT: usize = 1_000;

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// In the recording.
    pub messages: u64,
    pub sagas: u64,
    /// Sagas that were replayed: their command is recorded, and at least one answer.
    pub replayed: u64,
    /// Sagas whose command was published before the recording begins.
    pub without_command: u64,
    /// Sagas that the recording leaves before their end; replayed as far as it goes.
    pub without_end: u64,
    /// Events handed to a participant, those that were handed again included.
    pub deliveries: u64,
    /// Events handed again, as the recording or the option says.
    pub duplicates: u64,
    pub crashes: u64,
    /// Groups of sagas that may influence one another, and the sagas in them.
    pub groups: u64,
    pub grouped: u64,
    /// Sagas of such groups that came out otherwise, as they may in another order.
    pub changed: u64,
    /// Sagas that differ although they must not.
    pub different: u64,
    /// Sagas that differ, perhaps because of what the recording does not contain.
    pub undetermined: u64,
    /// The first of those that differ.
    pub differences: Vec<SagaDifference>,
}

impl Report {
    pub fn is_as_recorded(&self) -> bool {
        self.different == 0
    }
}

/// What is different about one saga.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SagaDifference {
    pub saga: SagaId,
    pub kind: &'static str,
    /// Of whom and of what, as far as its command says.
    pub about: String,
    pub recorded: End,
    pub replayed: End,
    /// Perhaps because of what the recording does not contain.
    pub is_undetermined: bool,
    pub findings: Vec<Finding>,
}

/// How a saga came out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct End {
    /// None: it did not end.
    #[serde(serialize_with = "as_str")]
    pub outcome: Option<Outcome>,
    pub reason: Option<Reason>,
}

fn as_str<S: serde::Serializer>(outcome: &Option<Outcome>, to: S) -> Result<S::Ok, S::Error> {
    outcome
        .map(|outcome| Status::from(outcome).as_str())
        .serialize(to)
}

/// One field of one message, or of what a participant keeps.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which participant on which message, or whose state.
    pub at: String,
    /// The message, by its name; the row of a state.
    pub message: String,
    pub field: String,
    /// Null: not there.
    pub recorded: Value,
    pub replayed: Value,
    /// A difference in whatever order the sagas are replayed.
    #[serde(skip)]
    pub(super) in_any_order: bool,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            None => f.write_str("not ended")?,
            Some(outcome) => f.write_str(Status::from(outcome).as_str())?,
        }
        match &self.reason {
            None => Ok(()),
            Some(reason) => write!(f, " ({reason})"),
        }
    }
}

impl fmt::Display for SagaDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { saga, kind, .. } = self;
        writeln!(f, "saga {saga}  {kind}, {}", self.about)?;
        if self.recorded == self.replayed {
            writeln!(f, "  outcome    {}, as recorded", self.recorded)?;
        } else {
            writeln!(f, "  outcome  - {}", self.recorded)?;
            writeln!(f, "           + {}", self.replayed)?;
        }
        let mut place = (&String::new(), &String::new());
        for finding in &self.findings {
            if place != (&finding.at, &finding.message) {
                place = (&finding.at, &finding.message);
                writeln!(f, "  {}: {}", finding.at, finding.message)?;
            }
            let width = finding.field.chars().count();
            writeln!(f, "    {}  - {}", finding.field, shown(&finding.recorded))?;
            writeln!(f, "    {:width$}  + {}", "", shown(&finding.replayed))?;
        }
        Ok(())
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(nothing)".to_owned(),
        other => other.to_string(),
    }
}
