//! Requests and their answers as tests got them: `system.json` is written by the system tests from
//! what the whole system answers, `gateway.json` by the gateway's own from what it answers when what
//! it stands on is away. Ids and times are made alike.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
pub(in crate::http) struct Example {
    about: String,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    pub(super) body: Option<Value>,
    pub(in crate::http) answer: Answer,
}

#[derive(Deserialize)]
pub(in crate::http) struct Answer {
    pub(super) status: u16,
    pub(in crate::http) body: Value,
}

pub(in crate::http) fn all() -> Vec<Example> {
    let files = [
        include_str!("examples/system.json"),
        include_str!("examples/gateway.json"),
    ];
    let read = |text| -> Vec<Example> { serde_json::from_str(text).expect("a test wrote it") };
    files.into_iter().flat_map(read).collect()
}

impl Example {
    pub(super) fn is_of(&self, method: &str, route: &str) -> bool {
        let (path, _) = self.split();
        let (path, route) = (path.split('/'), route.split('/'));
        let fits = |(part, pattern): (&str, &str)| part == pattern || pattern.starts_with('{');
        self.method == method
            && path.clone().count() == route.clone().count()
            && path.zip(route).all(fits)
    }

    fn split(&self) -> (&str, &str) {
        self.path.split_once('?').unwrap_or((&self.path, ""))
    }

    pub(in crate::http) fn is_problem(&self, kind: &str) -> bool {
        self.answer.body["type"].as_str() == Some(&format!("/problems/{kind}"))
    }

    /// Whether it tells of a requeue or drop, and not of a saga.
    pub(super) fn is_of_a_run(&self) -> bool {
        self.answer.body["data"]["run"].is_string()
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.answer.body["reason"].as_str()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let pairs = self.split().1.split('&');
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// What it has in the place of this parameter of the route.
    pub(super) fn in_path(&self, route: &str, name: &str) -> Option<&str> {
        let mut parts = self.split().0.split('/').zip(route.split('/'));
        let parameter = format!("{{{name}}}");
        parts.find_map(|(part, pattern)| (pattern == parameter).then_some(part))
    }

    /// The request in one line.
    pub(in crate::http) fn request(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// The bodies of requests or answers, as the document wants them.
pub(super) fn shown<'a>(
    examples: impl Iterator<Item = &'a Example>,
    body: impl Fn(&Example) -> Option<&Value>,
) -> Map<String, Value> {
    let mut shown = Map::new();
    for example in examples {
        if let Some(body) = body(example) {
            let about = format!("{} ({})", example.about, example.request());
            let value = json!({"summary": about, "value": body});
            shown.insert(name(&example.about), value);
        }
    }
    shown
}

/// Words of the sentence with hyphens.
fn name(about: &str) -> String {
    let words = about.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}
