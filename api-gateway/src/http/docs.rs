//! `GET /openapi.json`, and `GET /docs`: a page that shows it, with nothing from elsewhere.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

use super::openapi::{self, Operation};
use super::routes;

pub(super) const DOCUMENT: Operation =
    Operation::plain("openapi", "This document", "application/json", "Any");
pub(super) const PAGE: Operation = Operation::plain(
    "docs",
    "This document for people",
    "text/html; charset=utf-8",
    "Text",
);

/// Made when it is asked for first.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let document = openapi::document(&routes().described);
    serde_json::to_string_pretty(&document).expect("an object with string keys") + "\n"
});

pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

pub(super) async fn page() -> Response {
    Html(include_str!("openapi/page.html")).into_response()
}
