//! Failures that have the same cause differ in ids, numbers and quoted texts. Without those, they
//! are the same text, and that has a short key by which an operator names the group. Pure.

use std::fmt;

use uuid::Uuid;

/// Longer texts differ in what nobody reads.
const LENGTH: usize = 300;

/// What failures have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause(String);

impl Cause {
    pub fn of(failure: &str) -> Self {
        let mut text = String::new();
        let mut rest = failure;
        let mut before = ' ';
        while let Some(first) = rest.chars().next() {
            let taken = if is_word(first) {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                text.push_str(&word(&rest[..end]));
                &rest[..end]
            } else if let Some(quoted) = quoted(rest, first, before) {
                text.extend([first, '…', first]);
                quoted
            } else {
                text.push(first);
                &rest[..first.len_utf8()]
            };
            before = taken.chars().next_back().unwrap_or(' ');
            rest = &rest[taken.len()..];
        }
        text.truncate(text.floor_char_boundary(LENGTH));
        Self(text)
    }

    /// Eight hexadecimal digits, the same for the same cause on every machine and build.
    pub fn key(&self) -> String {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, self.0.as_bytes());
        id.simple().to_string()[..8].to_owned()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// The quoted text at the start of the rest. An apostrophe within a word quotes nothing.
fn quoted(rest: &str, first: char, before: char) -> Option<&str> {
    let quotes = first == '"' || (first == '\'' && !before.is_alphanumeric());
    let mut escaped = false;
    let closing = |(_, c): &(usize, char)| {
        let closes = *c == first && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    };
    let (end, _) = rest.char_indices().skip(1).find(closing)?;
    quotes.then(|| &rest[..=end])
}

/// A word with its ids and numbers replaced.
fn word(word: &str) -> String {
    let is_hex = word.len() >= 8 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if is_hex && word.contains(|c: char| c.is_ascii_digit()) {
        return "<id>".to_owned();
    }
    let mut text = String::new();
    let mut in_number = false;
    for c in word.chars() {
        if !c.is_ascii_digit() {
            text.push(c);
        } else if !in_number {
            text.push_str("<n>");
        }
        in_number = c.is_ascii_digit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_differ_in_ids_numbers_and_quotes_have_one_cause() {
        let of = |id: &str, n: u32, name: &str| {
            Cause::of(&format!(
                "saga {id}: row {n} of \"{name}\" isn't there ('{name}'), took {n}ms"
            ))
        };
        let one = of("01a20514-d2a8-7131-b8ce-9d5ea66e835b", 7, "user");
        let other = of("01a20514-d2cd-7315-8cf9-3ff7255b4716", 1234, "a \\\" b");
        assert_eq!(one, other);
        assert_eq!(
            one.to_string(),
            "saga <id>: row <n> of \"…\" isn't there ('…'), took <n>ms"
        );
        assert_eq!(one.key(), other.key());
        assert_eq!(one.key().len(), 8);
    }

    #[test]
    fn failures_that_differ_in_words_have_causes_of_their_own() {
        let causes = ["division by zero", "value out of range", "", "\"", "x \" y"];
        for one in causes {
            for other in causes {
                let same = Cause::of(one).key() == Cause::of(other).key();
                assert_eq!(same, one == other, "{one} {other}");
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert!(Cause::of(&"ü".repeat(999)).to_string().len() <= LENGTH);
    }
}
