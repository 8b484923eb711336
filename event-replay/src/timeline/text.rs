//! A sequence diagram of characters: a column for each participant, a line for each message.

use std::fmt::Write;

use super::{Message, Timeline, milliseconds};

/// What an arrow needs beside its label: two characters of line at each end, and its head.
const ARROW: usize = 6;
/// For the time in front of each line.
const MARGIN: usize = 14;

impl Timeline {
    pub fn to_text(&self) -> String {
        let gap = self.gap();
        let mut text = String::new();
        let names = self.participants.iter().map(|name| format!("{name:^gap$}"));
        let names = names.collect::<String>();
        line(&mut text, "", &names, "");
        for message in &self.messages {
            let at = milliseconds(self.after(message.event.time));
            let receivers = match message.to.as_slice() {
                [] => &[message.from],
                to => to,
            };
            for &to in receivers {
                let drawn = self.arrow(message, to, gap);
                line(&mut text, &at, &drawn, &message.remark());
            }
        }
        text
    }

    /// Between two columns, so that every label fits between neighbours.
    fn gap(&self) -> usize {
        let labels = self.messages.iter();
        let labels = labels.map(|message| message.event.message_type().name().len() + ARROW);
        let names = self.participants.iter().map(|name| name.len() + 2);
        labels.chain(names).max().unwrap_or_default()
    }

    fn arrow(&self, message: &Message, to: usize, gap: usize) -> String {
        let middle = |column: usize| column * gap + gap / 2;
        let mut row = vec![' '; self.participants.len() * gap];
        for column in 0..self.participants.len() {
            row[middle(column)] = '│';
        }
        let label = format!(" {} ", message.event.message_type());
        let (left, right) = (message.from.min(to), message.from.max(to));
        let (start, end) = (middle(left), middle(right));
        if left == right {
            row[start] = '●';
            put(&mut row, start + 1, &label);
            return row.into_iter().collect();
        }
        row[start..=end].fill('─');
        (row[start], row[end]) = match message.from < to {
            true => ('├', '▶'),
            false => ('◀', '┤'),
        };
        let place = start + (end - start).saturating_sub(label.len()) / 2 + 1;
        put(&mut row, place, &label);
        row.into_iter().collect()
    }
}

fn put(row: &mut [char], place: usize, label: &str) {
    for (cell, letter) in row.iter_mut().skip(place).zip(label.chars()) {
        *cell = letter;
    }
}

fn line(text: &mut String, at: &str, drawn: &str, remark: &str) {
    let line = format!("{at:>MARGIN$}  {drawn}  {remark}");
    // Writing to a string does not fail.
    let _ = writeln!(text, "{}", line.trim_end());
}
