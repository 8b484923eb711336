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

use super::openapi::failures::{self, Failure};
use super::problem::{FieldError, Problem};
use crate::dead_letters::OfficeError;

const OF_A_LOOK: &[Failure] = &[failures::INVALID, failures::UNAVAILABLE];
const OF_ONE: &[Failure] = &[
    failures::INVALID,
    failures::NOT_FOUND,
    failures::UNAVAILABLE,
];

/// How many are before the page, and how many it has at most.
fn bounds(page: Page) -> (usize, usize) {
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let before = usize::try_from(page.number - 1).unwrap_or(usize::MAX);
    (before.saturating_mul(size), size)
}

impl From<OfficeError> for Problem {
    fn from(error: OfficeError) -> Self {
        let detail = chain(&error);
        match error {
            OfficeError::DeadLetters(DeadLetterError::UnknownQueue { .. }) => {
                let field = "queue".to_owned();
                let errors = vec![FieldError {
                    field,
                    detail: detail.clone(),
                }];
                Self::invalid(detail, errors)
            }
            _ => Self::unavailable(detail),
        }
    }
}
