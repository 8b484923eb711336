//! The settings that every binary has.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::config;
use crate::participant::LoopOptions;
use crate::rabbitmq::{Packing, RabbitMqConfig, TopologyMode, check_namespace};
use crate::retry::RetryPolicy;
use crate::telemetry::LogFormat;

/// The settings that every binary has, as flags.
#[derive(Debug, clap::Args)]
pub struct RuntimeFlags {
    /// TOML file with settings; its keys are the flags' names with _ for -
    #[arg(long, env = "SAGA_CONFIG", value_name = "FILE")]
    config: Option<String>,
    /// Prefix of every exchange and queue, so that several environments share a broker [default: none]
    #[arg(long, env = "SAGA_NAMESPACE", value_name = "PREFIX")]
    namespace: Option<String>,
    /// Most events in one database transaction [default: 1024]
    #[arg(long, env = "BATCH_LIMIT", value_name = "EVENTS")]
    batch_limit: Option<String>,
    /// Most events in one AMQP message; 1 turns packing off [default: 512]
    #[arg(long, env = "MAX_EVENTS_PER_MESSAGE", value_name = "EVENTS")]
    max_events_per_message: Option<String>,
    /// Waits before a failed event is tried again; after the last it is dead-lettered [default: 1s,10s,60s]
    #[arg(long, env = "RETRY_DELAYS", value_name = "DURATIONS")]
    retry_delays: Option<String>,
    /// "declare": create what is missing on the broker; "check": only verify what operators provisioned [default: declare]
    #[arg(long, env = "TOPOLOGY", value_name = "MODE")]
    topology: Option<String>,
    /// What to log, e.g. "info" or "warn,saga=debug" [default: info]
    #[arg(long, env = "LOG", value_name = "FILTER")]
    log: Option<String>,
    /// "pretty" for a terminal or "json" for a log store [default: pretty]
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
}

/// The settings that every binary has.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct RuntimeConfig {
    #[serde(deserialize_with = "namespace")]
    pub namespace: String,
    #[serde(deserialize_with = "at_least_one")]
    pub batch_limit: usize,
    #[serde(deserialize_with = "at_least_one")]
    pub max_events_per_message: usize,
    #[serde(deserialize_with = "durations")]
    pub retry_delays: Vec<Duration>,
    pub topology: TopologyMode,
    pub log: String,
    pub log_format: LogFormat,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            namespace: String::new(),
            batch_limit: LoopOptions::default().batch_limit,
            max_events_per_message: Packing::default().max_events_per_message,
            retry_delays: RetryPolicy::default().delays,
            topology: TopologyMode::Declare,
            log: "info".to_owned(),
            log_format: LogFormat::default(),
        }
    }
}

impl RuntimeConfig {
    pub fn loop_options(&self) -> LoopOptions {
        LoopOptions {
            batch_limit: self.batch_limit,
            retry: self.retry(),
            jitter_seed: None,
        }
    }

    pub fn retry(&self) -> RetryPolicy {
        RetryPolicy {
            delays: self.retry_delays.clone(),
        }
    }

    pub fn rabbitmq(&self, url: String, client_name: &str) -> RabbitMqConfig {
        RabbitMqConfig {
            namespace: self.namespace.clone(),
            retry: self.retry(),
            packing: Packing::of(self.max_events_per_message),
            topology: self.topology,
            ..RabbitMqConfig::new(url, client_name)
        }
    }
}

fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    config::checked(deserializer, check_namespace)
}

fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(de::Error::invalid_value(
            de::Unexpected::Unsigned(0),
            &"a number from 1 on",
        )),
        number => Ok(number),
    }
}

fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
    let policy = config::text(deserializer)?.parse::<RetryPolicy>();
    policy
        .map(|policy| policy.delays)
        .map_err(de::Error::custom)
}
