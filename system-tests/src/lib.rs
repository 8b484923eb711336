//! What the tests of the whole system stand on: private servers that may be killed, the service
//! binaries as processes, a load generator, and the audit of what is left in the databases.
//!
//! A failure here is a failed test, so these functions panic, and say what they waited for and what
//! the process last wrote. Everything is blocking: a test reads as the story that it tells.

pub mod audit;
pub mod deployment;
pub mod fresh_database;
pub mod http;
pub mod leash;
pub mod line;
pub mod load;
pub mod ports;
pub mod private_postgres;
pub mod private_rabbitmq;
pub mod process;
pub mod purchase;
pub mod seed;
pub mod service;
