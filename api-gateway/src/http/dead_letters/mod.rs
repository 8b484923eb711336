//! `/dead-letters`: what the system gave up on, for operators. `dlq` does the same without a gateway.

pub(super) mod deeds;
pub(super) mod groups;
pub(super) mod log;
pub(super) mod messages;
pub(super) mod runs;
mod selection;
mod view;

use events::query::Page;
use saga::dead_letters::DeadLetterError;
use saga::failure::chain;

use super::idempotency;
use super::parameters::{Parameters, RawParameters};
use super::problem::{FieldError, Problem};
use super::texts::kinds::{INVALID, NOT_FOUND, ProblemKind, UNAVAILABLE};
use super::texts::{Text, details};
use crate::dead_letters::OfficeError;

const OF_A_LOOK: &[&ProblemKind] = &[&INVALID, &UNAVAILABLE];
/// Nothing has to be reached for it.
const OF_THIS_GATEWAY: &[&ProblemKind] = &[&INVALID];
const OF_ONE_HERE: &[&ProblemKind] = &[&INVALID, &NOT_FOUND];
const OF_ONE: &[&ProblemKind] = &[&INVALID, &NOT_FOUND, &UNAVAILABLE];

/// How many are before the page, and how many it has at most.
fn bounds(page: Page) -> (usize, usize) {
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let before = usize::try_from(page.number - 1).unwrap_or(usize::MAX);
    (before.saturating_mul(size), size)
}

/// The page that a list without conditions is asked for.
fn page(raw: RawParameters) -> Result<(usize, usize), Problem> {
    let mut parameters = Parameters::parse(raw)?;
    let page = bounds(parameters.page());
    parameters.check()?;
    Ok(page)
}

/// A problem with this one field.
fn wrong(field: &str, detail: Text) -> Problem {
    let told = Text::of(field, &detail);
    let field = field.to_owned();
    Problem::invalid(told, vec![FieldError { field, detail }])
}

impl From<OfficeError> for Problem {
    fn from(error: OfficeError) -> Self {
        let problem = chain(&error);
        match error {
            OfficeError::OtherOrder => idempotency::reused(),
            OfficeError::DeadLetters(DeadLetterError::UnknownQueue { .. }) => {
                wrong("queue", details::unknown_queue(&problem))
            }
            _ => Self::unavailable(details::dead_letters_away(&problem)),
        }
    }
}
