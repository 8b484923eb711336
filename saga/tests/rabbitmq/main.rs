//! What is particular to the RabbitMQ adapter, on a real broker: its topology, its packs, its
//! retry tiers and dead-letter queues, and its reconnects.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod broker;
mod consumers;
mod deaths;
mod failures;
mod outages;
mod paces;
mod packs;
mod planted;
mod proxy;
mod topology;
mod unrouted;
