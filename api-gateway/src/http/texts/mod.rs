//! Everything that callers are told when something is wrong, in both languages beside each other:
//! the kinds of problem ([`kinds`]), why sagas are refused ([`refusals`]), and what is said of one
//! request in particular ([`details`]). What a library or the broker says of its own trouble is
//! quoted as it is.
//!
//! To add a text: a line in one of the three. To add a kind of problem: an entry of [`kinds`]; its
//! page at `/problems` and its response in the OpenAPI document follow from it.

pub(super) mod details;
pub(super) mod kinds;
pub(super) mod refusals;

use std::borrow::Cow;
use std::fmt::Display;

use super::language::Language;

/// A text in every language, the same for every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    chinese: &'static str,
    english: &'static str,
}

const fn words(chinese: &'static str, english: &'static str) -> Words {
    Words { chinese, english }
}

impl Words {
    pub(super) const fn get(self, language: Language) -> &'static str {
        match language {
            Language::Chinese => self.chinese,
            Language::English => self.english,
        }
    }

    pub(super) const fn english(self) -> &'static str {
        self.english
    }
}

/// A text in every language, about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    chinese: Cow<'static, str>,
    english: Cow<'static, str>,
}

impl Text {
    /// What is the same in every language.
    fn same(text: &impl Display) -> Self {
        let text = text.to_string();
        Self {
            chinese: text.clone().into(),
            english: text.into(),
        }
    }

    /// The sentences one after the other.
    pub(super) fn sentences(all: &[Self]) -> Self {
        let join = |language, separator: &str| {
            let all: Vec<&str> = all.iter().map(|text| text.get(language)).collect();
            all.join(separator).into()
        };
        Self {
            chinese: join(Language::Chinese, "；"),
            english: join(Language::English, ". "),
        }
    }

    /// A name with what is said of it.
    pub(super) fn of(name: &str, fault: &Self) -> Self {
        Self {
            chinese: format!("{name} {}", fault.chinese).into(),
            english: format!("{name} {}", fault.english).into(),
        }
    }

    pub(super) fn get(&self, language: Language) -> &str {
        match language {
            Language::Chinese => &self.chinese,
            Language::English => &self.english,
        }
    }
}

impl From<Words> for Text {
    fn from(Words { chinese, english }: Words) -> Self {
        Self {
            chinese: chinese.into(),
            english: english.into(),
        }
    }
}

/// What may stand in a text: another text, in its language, or anything that is the same in all of
/// them.
pub(super) trait Say {
    fn say(&self, language: Language) -> Cow<'_, str>;
}

impl Say for Words {
    fn say(&self, language: Language) -> Cow<'_, str> {
        self.get(language).into()
    }
}

impl Say for Text {
    fn say(&self, language: Language) -> Cow<'_, str> {
        self.get(language).into()
    }
}

impl<T: Display> Say for T {
    fn say(&self, _language: Language) -> Cow<'_, str> {
        self.to_string().into()
    }
}

/// Texts with something in them, as functions of it: a name, its parts, the Chinese, the English.
macro_rules! texts {
    ($($name:ident($($part:ident),+) $chinese:literal, $english:literal;)*) => {
        $(
            pub(in crate::http) fn $name($($part: &dyn Say),+) -> Text {
                let chinese = {
                    $(let $part = $part.say(Language::Chinese);)+
                    format!($chinese)
                };
                $(let $part = $part.say(Language::English);)+
                let english = format!($english);
                Text { chinese: chinese.into(), english: english.into() }
            }
        )*

        /// Their names and patterns.
        #[cfg(test)]
        pub(super) const PATTERNS: &[(&str, &str, &str)] =
            &[$((stringify!($name), $chinese, $english)),*];
    };
}
use texts;

#[cfg(test)]
mod tests {
    use super::*;

    /// The `{}` of a pattern, sorted.
    fn parts(pattern: &str) -> Vec<&str> {
        let after = pattern.split('{').skip(1);
        let mut parts: Vec<&str> = after.filter_map(|part| part.split('}').next()).collect();
        parts.sort_unstable();
        parts
    }

    fn is_chinese(text: &str) -> bool {
        let is_han = |letter| ('\u{4e00}'..='\u{9fff}').contains(&letter);
        text.chars().any(is_han)
    }

    #[test]
    fn both_languages_say_the_same_parts_each_in_its_own_letters() {
        for (name, chinese, english) in details::PATTERNS {
            assert_eq!(parts(chinese), parts(english), "{name}");
            assert!(is_chinese(chinese) && !is_chinese(english), "{name}");
        }
        let of_kind =
            |kind: &&kinds::ProblemKind| [kind.title, kind.happened, kind.to_do, kind.code.1];
        let of_refusal = |refusal: &refusals::Refusal| [refusal.message, refusal.detail];
        let kinds = kinds::ALL.iter().flat_map(of_kind);
        let refusals = refusals::ALL.iter().flat_map(of_refusal);
        let phrases = details::PHRASES.iter().copied();
        for Words { chinese, english } in kinds.chain(refusals).chain(phrases) {
            assert!(is_chinese(chinese) && !is_chinese(english), "{english}");
        }
    }

    #[test]
    fn a_text_within_a_text_is_said_in_its_language() {
        let text = details::is_missing(&details::UUID);
        for language in [Language::Chinese, Language::English] {
            assert!(text.get(language).contains(details::UUID.get(language)));
        }
    }
}
