//! The production bus: RabbitMQ 3.10 and 4.x, over lapin.
use crate::retry::RetryPolicy;
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopologyMode {
    #[default]
    Declare,
    Check,
}
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    pub max_events_per_message: usize,
}
impl Default for Packing {
    fn default() -> Self {
        Self {
            max_events_per_message: 256,
        }
    }
}
impl Packing {
    pub fn of(n: usize) -> Self {
        Self {
            max_events_per_message: n,
        }
    }
}
pub struct RabbitMqConfig {
    pub url: String,
    pub namespace: String,
    pub client_name: String,
    pub retry: RetryPolicy,
    pub packing: Packing,
    pub topology: TopologyMode,
}
impl RabbitMqConfig {
    pub fn new(url: String, client_name: &str) -> Self {
        Self {
            url,
            namespace: String::new(),
            client_name: client_name.into(),
            retry: RetryPolicy::default(),
            packing: Packing::default(),
            topology: TopologyMode::Declare,
        }
    }
}
pub struct RabbitMqBus;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ConfigError;
impl RabbitMqBus {
    pub fn start(
        _c: RabbitMqConfig,
        _t: &crate::Tasks,
    ) -> Result<std::sync::Arc<dyn crate::bus::Bus>, ConfigError> {
        Err(ConfigError)
    }
}
