//! A sequence diagram in mermaid, which many places that show markdown draw.

use std::fmt::Write;

use events::Timestamp;

use super::{Timeline, milliseconds};

impl Timeline {
    pub fn to_mermaid(&self, now: Timestamp) -> String {
        let mut text = String::from("sequenceDiagram\n");
        for (place, name) in self.participants.iter().enumerate() {
            line(&mut text, &format!("participant P{place} as {name}"));
        }
        for message in &self.messages {
            let (name, from) = (message.event.message_type().name(), message.from);
            let at = milliseconds(self.after(message.event.time));
            let remark = match message.remark() {
                remark if remark.is_empty() => format!("{name} (+{at})"),
                remark => format!("{name}: {remark} (+{at})"),
            };
            for to in &message.to {
                line(&mut text, &format!("P{from}->>P{to}: {remark}"));
            }
            if message.to.is_empty() {
                line(&mut text, &format!("Note over P{from}: {remark}"));
            }
        }
        let last = self.participants.len() - 1;
        line(
            &mut text,
            &format!("Note over P0,P{last}: {}", self.headline(now)),
        );
        text
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "    {line}");
}
