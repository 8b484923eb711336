//! The query of a URL as named parameters. Every one is checked before anything is answered; unknown
//! ones pass; one given twice does not, for there is no telling which was meant. An empty one is as
//! good as none, as forms send them.

use std::str::FromStr;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;

use super::problem::{FieldError, Problem};
use super::texts::{Say, Text, details};

/// The largest page, and the size of a page whose size is out of range.
const LARGEST_PAGE: i64 = 100;
const DEFAULT_PAGE: i64 = 10;

pub(super) type RawParameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

pub(super) struct Parameters {
    given: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Parameters {
    pub(super) fn parse(raw: RawParameters) -> Result<Self, Problem> {
        match raw {
            Ok(Query(given)) => Ok(Self {
                given,
                errors: Vec::new(),
            }),
            Err(rejection) => {
                let detail = details::of_query(&rejection);
                Err(Problem::invalid(detail, Vec::new()))
            }
        }
    }

    /// The value of a parameter, if it is given; `expected` says what it must be.
    pub(super) fn optional<T: FromStr>(&mut self, name: &str, expected: &dyn Say) -> Option<T> {
        let mut given = self.given.iter().filter(|(key, _)| key == name);
        let (value, again) = (given.next().map(|(_, value)| value), given.count());
        let detail = match value.map(String::as_str) {
            None | Some("") if again == 0 => return None,
            Some(value) if again == 0 => match value.parse() {
                Ok(value) => return Some(value),
                Err(_) => details::is_other(expected, &format!("{value:?}")),
            },
            _ => details::is_repeated(&(again + 1)),
        };
        self.fail(name, detail);
        None
    }

    pub(super) fn required<T: FromStr>(&mut self, name: &str, expected: &dyn Say) -> Option<T> {
        let known = self.errors.len();
        let value = self.optional(name, expected);
        if value.is_none() && self.errors.len() == known {
            self.fail(name, details::is_missing(expected));
        }
        value
    }

    /// Which page of a list: out of range means the first one, and ten of them.
    pub(super) fn page(&mut self) -> events::query::Page {
        let number = self.optional("pageNum", &details::ANY_WHOLE_NUMBER);
        let size = self.optional("pageSize", &details::ANY_WHOLE_NUMBER);
        let number = number.map_or(1, |Whole(number)| number.max(1));
        let size = size.map(|Whole(size)| size);
        let size = size.filter(|size| (1..=LARGEST_PAGE).contains(size));
        events::query::Page {
            number: number.unsigned_abs(),
            size: size.unwrap_or(DEFAULT_PAGE).unsigned_abs(),
        }
    }

    /// Whether all was well, else everything that was wrong.
    pub(super) fn check(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let detail = FieldError::sentences(&self.errors);
        Err(Problem::invalid(detail, self.errors))
    }

    fn fail(&mut self, name: &str, detail: Text) {
        let field = name.to_owned();
        self.errors.push(FieldError { field, detail });
    }
}

/// Any whole number, be it ever so long: one that is too large for a page is out of range as well.
struct Whole(i64);

impl FromStr for Whole {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (digits, beyond) = match text.strip_prefix('-') {
            Some(digits) => (digits, i64::MIN),
            None => (text, i64::MAX),
        };
        match !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Ok(Self(text.parse().unwrap_or(beyond))),
            false => Err(()),
        }
    }
}
