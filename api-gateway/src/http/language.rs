//! In which language a caller is told what is wrong: `Accept-Language` (RFC 9110, 12.5.4), and where
//! it says nothing of ours, the original's Chinese.
//!
//! A range speaks for a language if it is its tag or a longer one (`en-GB` for English): better the
//! English of elsewhere than none. The crates for this header leave out qualities of zero, `*`, or
//! upper case, each of which changes the answer.

use axum::http::{HeaderMap, header};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Chinese,
    English,
}

impl Language {
    pub(super) const ALL: [Self; 2] = [Self::Chinese, Self::English];

    /// The one that the caller would rather read; the original's, if both are the same to it.
    pub(super) fn preferred(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT_LANGUAGE).into_iter();
        let ranges: Vec<Range> = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .filter_map(Range::parse)
            .collect();
        match Self::English.liked(&ranges) > Self::Chinese.liked(&ranges) {
            true => Self::English,
            false => Self::Chinese,
        }
    }

    /// As `Content-Language` and HTML say it.
    pub(super) const fn tag(self) -> &'static str {
        match self {
            Self::Chinese => "zh-CN",
            Self::English => "en",
        }
    }

    fn primary(self) -> &'static str {
        match self {
            Self::Chinese => "zh",
            Self::English => "en",
        }
    }

    /// How much the caller likes it. More than zero: it is acceptable, the sooner named the better
    /// among equals; less: it is ruled out.
    fn liked(self, ranges: &[Range]) -> (i32, usize) {
        let all = ranges.iter().rev().enumerate();
        let own = all.clone().filter(|(_, range)| range.is_of(self));
        let any = all.filter(|(_, range)| range.tag == "*");
        let best = |(place, range): (usize, &Range)| match range.quality {
            0 => (-1, 0),
            quality => (i32::from(quality), place),
        };
        // Longer ranges say more of the language, but `en;q=0, en-GB` rules English out.
        let mut bare = own.clone().filter(|(_, range)| range.tag.len() == 2);
        if bare.any(|(_, range)| range.quality == 0) {
            return (-1, 0);
        }
        let of = own.map(best).max();
        of.or(any.map(best).max()).unwrap_or((0, 0))
    }
}

/// A member of the header.
struct Range<'a> {
    tag: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    /// None if it is not written as the RFC has it; the others count.
    fn parse(text: &'a str) -> Option<Self> {
        let (tag, weight) = match text.split_once(';') {
            Some((tag, weight)) => (tag, Some(weight.trim())),
            None => (text, None),
        };
        let is_tag = |tag: &str| {
            let letters = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-';
            tag == "*" || (!tag.is_empty() && tag.bytes().all(letters))
        };
        let quality = match weight {
            Some(weight) => quality(weight)?,
            None => 1_000,
        };
        let tag = tag.trim();
        is_tag(tag).then_some(Self { tag, quality })
    }

    fn is_of(&self, language: Language) -> bool {
        let primary = self.tag.split('-').next().unwrap_or_default();
        primary.eq_ignore_ascii_case(language.primary())
    }
}

/// `q=0.7` as 700: up to three digits, and no more than 1.
fn quality(weight: &str) -> Option<u16> {
    let value = weight
        .strip_prefix("q=")
        .or_else(|| weight.strip_prefix("Q="))?;
    let (whole, digits) = value.split_once('.').unwrap_or((value, ""));
    let fits = digits.len() <= 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
    let thousandths: u16 = format!("{digits:0<3}").parse().ok()?;
    match (whole, fits, thousandths) {
        ("0", true, part) => Some(part),
        ("1", true, 0) => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::Language::{self, Chinese, English};

    fn preferred(lines: &[&str]) -> Language {
        let mut headers = axum::http::HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append(axum::http::header::ACCEPT_LANGUAGE, value);
        }
        Language::preferred(&headers)
    }

    #[test]
    fn the_larger_quality_wins_and_the_original_is_chinese() {
        for (line, language) in [
            ("en", English),
            ("EN-us", English),
            ("en-GB;q=0.3", English),
            ("zh-TW, en;q=0.9", Chinese),
            ("zh;q=0.8, en;q=0.9", English),
            ("en-US,zh-CN;q=0.9,en;q=0.8", English),
            ("zh-CN,en;q=0.9,zh;q=0.8", Chinese),
            ("zh;q=0.801,en;q=0.8", Chinese),
            ("zh;q=0.5 , en ; q=0.55", English),
            ("fr, en;q=0.1", English),
            ("fr-CH, fr;q=0.9, de;q=0.7", Chinese),
            ("", Chinese),
            ("*", Chinese),
            ("eng, enx, english", Chinese),
        ] {
            assert_eq!(preferred(&[line]), language, "{line:?}");
        }
        assert_eq!(preferred(&[]), Chinese);
        assert_eq!(preferred(&["zh;q=0.5", "en;q=0.6"]), English);
    }

    #[test]
    fn among_equals_the_one_named_first_wins() {
        assert_eq!(preferred(&["en, zh"]), English);
        assert_eq!(preferred(&["zh, en"]), Chinese);
        assert_eq!(preferred(&["en, *"]), English);
        assert_eq!(preferred(&["en;q=0.5, zh;q=0.50"]), English);
    }

    #[test]
    fn a_star_speaks_for_what_nothing_else_speaks_for() {
        assert_eq!(preferred(&["zh;q=0.1, *;q=0.5"]), English);
        assert_eq!(preferred(&["en;q=0.1, *;q=0.5"]), Chinese);
        assert_eq!(preferred(&["en;q=0.1, *;q=0"]), English);
    }

    #[test]
    fn what_is_ruled_out_is_told_only_if_nothing_else_can_be() {
        assert_eq!(preferred(&["zh;q=0"]), English);
        assert_eq!(preferred(&["zh-CN;q=0, en;q=0.001"]), English);
        assert_eq!(preferred(&["en;q=0"]), Chinese);
        assert_eq!(preferred(&["en;q=0, en-GB, fr"]), Chinese);
        assert_eq!(preferred(&["*;q=0"]), Chinese);
        assert_eq!(preferred(&["en;q=0, zh;q=0"]), Chinese);
    }

    #[test]
    fn a_member_that_is_none_is_passed_over() {
        for line in [
            "en;q=1.1",
            "en;q=-1",
            "en;q=0.1234",
            "en;q=x",
            "en;q=",
            "en;level=1",
            "en;q=1.001",
            "e n",
            "en;q=0.+5",
            ";q=1",
            "\u{1f3ab}",
        ] {
            assert_eq!(preferred(&[line]), Chinese, "{line:?}");
            assert_eq!(preferred(&[line, "en;q=0.1"]), English, "{line:?}");
        }
        assert_eq!(preferred(&["en;q=1.000"]), English);
        assert_eq!(preferred(&["en;q=0."]), Chinese, "it is zero");
    }
}
