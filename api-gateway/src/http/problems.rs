//! `GET /problems/{name}`: what the `type` of a problem points to, and `GET /problems`, which lists
//! them. Written from [`kinds`] for people, in both languages, with an example that a test got and
//! nothing from elsewhere.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::{Html, IntoResponse, Response};

use super::language::Language;
use super::openapi::{Operation, examples, failures, required};
use super::problem::{PAGES, Problem};
use super::texts::kinds::{self, ProblemKind};
use super::texts::{Words, details, refusals};

const HTML: &str = "text/html; charset=utf-8";

pub(super) const LIST: Operation = Operation::plain(
    "listProblems",
    "Every kind of problem, for people",
    HTML,
    "Text",
);
pub(super) const PAGE: Operation = Operation::plain(
    "explainProblem",
    "A kind of problem, for people: what happened, and what to do",
    HTML,
    "Text",
)
.path(&[required("name", "ProblemName").about("The last part of its `type`")])
.fails_with(failures::OF_A_PROBLEM_PAGE);

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 16px/1.6 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; background: #8882; border-radius: 4px; }
code { padding: 0 .25em; overflow-wrap: anywhere; }
pre { padding: .6rem; overflow-x: auto; }
td, th { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; }
";

/// Made when one is asked for first.
static ALL: LazyLock<HashMap<&str, String>> = LazyLock::new(|| {
    let examples = examples::all();
    let page = |kind: &&'static ProblemKind| (kind.name, page_of(kind, &examples));
    kinds::ALL.iter().map(page).collect()
});
static INDEX: LazyLock<String> = LazyLock::new(index);

pub(super) async fn list() -> Response {
    Html(INDEX.as_str()).into_response()
}

pub(super) async fn page(path: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let name = path.map_or_else(|rejection| rejection.to_string(), |Path(name)| name);
    let page = ALL.get(&*name);
    let page = page.ok_or_else(|| Problem::not_found(details::no_kind(&format!("{name:?}"))))?;
    Ok(Html(page.as_str()).into_response())
}

fn index() -> String {
    let row = |kind: &&ProblemKind| {
        let [chinese, english] = both(kind.title);
        let (name, status) = (kind.name, kind.status);
        format!(
            "<tr><td>{status}<td><a href=\"{PAGES}/{name}\"><code>{name}</code></a>\
             <td lang=\"en\">{english}<td lang=\"zh-CN\">{chinese}\n"
        )
    };
    let rows: String = kinds::ALL.iter().map(row).collect();
    let [chinese, english] = both(details::PAGE_PROBLEMS);
    let title = format!("{english} · {chinese}");
    framed(
        &title,
        &format!("<h1>{title}</h1>\n<table>\n{rows}</table>\n"),
    )
}

fn page_of(kind: &ProblemKind, examples: &[examples::Example]) -> String {
    let (name, status) = (kind.name, kind.status);
    let head = format!("<h1>{status} <code>{name}</code></h1>\n");
    let texts = [Language::English, Language::Chinese].map(|language| section(kind, language));
    let reasons = match name == kinds::REFUSED.name {
        true => reasons(),
        false => String::new(),
    };
    let example = examples.iter().find(|example| example.is_problem(name));
    let example = example.map(|example| {
        let [chinese, english] = both(details::PAGE_EXAMPLE);
        let (request, answer) = (example.request(), &example.answer.body);
        let told = escaped(&format!("{request}\n\n{answer:#}"));
        format!("<h2>{english} · {chinese}</h2>\n<pre>{told}</pre>\n")
    });
    let body = [head, texts.concat(), reasons, example.unwrap_or_default()].concat();
    framed(&format!("{status} {name}"), &body)
}

/// What happened and what to do, in one language.
fn section(kind: &ProblemKind, language: Language) -> String {
    let said = |words: Words| marked_up(words.get(language));
    let title = said(kind.title);
    let parts = [
        (details::PAGE_HAPPENED, kind.happened),
        (details::PAGE_TO_DO, kind.to_do),
    ];
    let parts =
        parts.map(|(head, text)| format!("<h3>{}</h3>\n<p>{}</p>\n", said(head), said(text)));
    let (code, message) = (kind.code.0, said(kind.code.1));
    let code = match kind.name == kinds::REFUSED.name {
        // They are the reason's.
        true => String::new(),
        false => {
            format!("<p><code>code</code> {code}, <code>message</code> {message}</p>\n")
        }
    };
    let (tag, parts) = (language.tag(), parts.concat());
    format!("<section lang=\"{tag}\">\n<h2>{title}</h2>\n{parts}{code}</section>\n")
}

/// Every reason for which a saga is refused.
fn reasons() -> String {
    let row = |refusal: &refusals::Refusal| {
        let (reason, code) = (refusal.reason.as_str(), refusal.code);
        let [chinese_message, english_message] = both(refusal.message);
        let [chinese, english] = both(refusal.detail);
        format!(
            "<tr><td><code>{reason}</code><td>{code}<td lang=\"en\">{english_message}<br>{english}\
             <td lang=\"zh-CN\">{chinese_message}<br>{chinese}\n"
        )
    };
    let rows: String = refusals::ALL.iter().map(row).collect();
    format!(
        "<table>\n<tr><th><code>reason</code><th><code>code</code>\
         <th colspan=\"2\"><code>message</code>, <code>detail</code>\n{rows}</table>\n"
    )
}

fn both(words: Words) -> [String; 2] {
    Language::ALL.map(|language| marked_up(words.get(language)))
}

fn framed(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n\
         <p><a href=\"{PAGES}\">{PAGES}</a> · <a href=\"/docs\">/docs</a></p>\n{body}"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// `code` is the only markup that the texts have.
fn marked_up(text: &str) -> String {
    let escaped = escaped(text);
    let parts = escaped.split('`').enumerate();
    let mark = |(place, part): (usize, &str)| match place % 2 {
        0 => part.to_owned(),
        _ => format!("<code>{part}</code>"),
    };
    parts.map(mark).collect()
}
