//! The runtime that every participant shares.
//!
//! A participant is its rules ([`decision::Decider`]) and its storage ([`store::Store`]). This crate
//! does the rest: it takes batches of events from a [`bus::Bus`], decides what was not decided yet,
//! commits, publishes the replies, waits for the confirms, and only then acknowledges.

pub mod bus;
pub mod config;
pub mod database;
pub mod dead_letters;
pub mod decision;
pub mod embedded;
pub mod failure;
pub mod journal;
pub mod monitoring;
pub mod participant;
pub mod process;
pub mod rabbitmq;
pub mod reads;
pub mod retry;
pub mod store;
mod tasks;
pub mod telemetry;

pub use tasks::{SHUTDOWN_LIMIT, Tasks, TasksError};
