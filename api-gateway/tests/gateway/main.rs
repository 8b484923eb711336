//! The gateway against a bus in memory, and its ledger in both databases.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bad_tokens;
mod databases;
mod dead_letters;
mod fake_bus;
mod http;
mod http_errors;
mod key_rotation;
mod languages;
mod ledger_store;
mod limits;
mod lost_replies;
mod measurements;
mod openapi;
mod openapi_examples;
mod overdue;
mod problem_pages;
mod projector;
mod rebuild;
mod retention;
mod running;
mod sent_again;
mod shelf;
mod stories;
mod tokens;
mod watching;
mod who_may_do_what;
