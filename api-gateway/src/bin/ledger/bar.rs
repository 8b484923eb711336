//! The progress bar. Where standard error is no terminal, it shows nothing.

use api_gateway::ledger::rebuild::Stage;
use indicatif::{ProgressBar, ProgressStyle};

const READING: &str = "reading the journal {wide_bar} {percent}% {msg} {eta} left";
const COMPARING: &str = "comparing {spinner} {msg}";

pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(0);
        bar.set_style(style(READING));
        Self(bar)
    }

    pub(crate) fn show(&self, stage: Stage) {
        match stage {
            Stage::Reading {
                from,
                at,
                to,
                events,
            } => {
                let length = |position: i64| (position - from.0).unsigned_abs();
                self.0.set_length(length(to.0));
                self.0.set_position(length(at.0));
                self.0.set_message(format!("{events} events"));
            }
            Stage::Comparing { sagas } => {
                self.0.set_style(style(COMPARING));
                self.0.set_message(format!("{sagas} sagas"));
                self.0.tick();
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are right")
}
