//! The embedded bus: durable queues in SQLite inside the process.
