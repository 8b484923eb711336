//! One connection to the broker, and what can be wrong with it.
//!
//! lapin's own recovery stays off: whoever owns a connection drops it on any error and opens a new
//! one after a back-off, because only the owner knows what has to be declared and consumed again.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use lapin::types::ShortString;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, ErrorKind};
use tokio::sync::Mutex;

use super::declare::{TopologyMode, check, declare};
use super::rights::Rights;
use super::topology::{Names, Topology};
use super::{ConfigError, Packing, RabbitMqConfig};
use crate::bus::TopologyError;
use crate::retry::RetryPolicy;

/// A broker that starts answers late. An attempt given up keeps a socket and a thread until its peer
/// answers or goes away, so this is generous.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long a goodbye may take; a broker that does not answer it is gone anyway.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);
/// A broker that vanished without a word is noticed after two of these.
const HEARTBEAT_SECONDS: u16 = 10;
/// A connection that held this long was a good one: the next back-off starts small again.
pub(super) const STABLE: Duration = Duration::from_secs(5);

/// The configuration, checked and in the shape the parts need.
#[derive(Debug)]
pub(super) struct Settings {
    uri: AMQPUri,
    pub(super) names: Names,
    pub(super) client_name: String,
    pub(super) retry: RetryPolicy,
    pub(super) packing: Packing,
    pub(super) prefetch: u16,
    topology: Topology,
    rights: Rights,
    pub(super) mode: TopologyMode,
    /// Two connections of one process that declare the same queue at once get in each other's way.
    declaring: Mutex<()>,
}

impl Settings {
    pub(super) fn check(config: RabbitMqConfig) -> Result<Self, ConfigError> {
        let mut uri = parse_url(&config.url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        check_namespace(&config.namespace)?;
        if config.packing.max_events_per_message == 0 || config.packing.confirm_window == 0 {
            return Err(ConfigError::Packing);
        }
        let names = Names::new(&config.namespace);
        Ok(Self {
            uri,
            topology: Topology::of_choreography(&names, &config.retry.delays),
            rights: Rights::of(config.role, &names, &config.retry.delays),
            names,
            client_name: config.client_name,
            retry: config.retry,
            prefetch: config.prefetch.unwrap_or(config.packing.prefetch()).max(1),
            packing: config.packing,
            mode: config.topology,
            declaring: Mutex::new(()),
        })
    }

    /// Where the broker is, without the credentials.
    pub(super) fn broker(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Whether operators bring the topology.
    pub(super) fn checks_only(&self) -> bool {
        self.mode == TopologyMode::Check
    }

    /// Declares the topology, or checks what of it is used here.
    pub(super) async fn prepare(&self, connection: &Connection) -> Result<(), Trouble> {
        let _alone = self.declaring.lock().await;
        match self.mode {
            TopologyMode::Declare => declare(connection, &self.topology).await,
            TopologyMode::Check => check(connection, &self.topology, &self.rights).await,
        }
    }
}

/// Names on the broker hold 255 bytes; ours take less than half of that.
const NAMESPACE_LIMIT: usize = 64;

pub(super) fn parse_url(url: &str) -> Result<AMQPUri, ConfigError> {
    let parsed = url.parse::<AMQPUri>();
    let mut uri = parsed.map_err(|reason| ConfigError::Url { reason })?;
    // The client would connect to localhost instead, and say nothing.
    if url.contains('[') {
        let reason = "IPv6 addresses are not supported; use a host name".to_owned();
        return Err(ConfigError::Url { reason });
    }
    // A trailing slash means the vhost "" to the letter of the URL, and "/" to who wrote it.
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    Ok(uri)
}

pub(super) fn check_namespace(namespace: &str) -> Result<(), ConfigError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    // The broker keeps names that begin with `amq.` for itself.
    let is_reserved = namespace.split('.').next() == Some("amq");
    if namespace.len() > NAMESPACE_LIMIT || !namespace.chars().all(is_plain) || is_reserved {
        return Err(ConfigError::Namespace {
            namespace: namespace.to_owned(),
        });
    }
    Ok(())
}

/// An open connection with the topology behind it.
pub(super) struct Link {
    pub(super) connection: Connection,
    /// Blocked, unblocked, lost.
    pub(super) events: Pin<Box<dyn Stream<Item = lapin::Event> + Send>>,
}

impl Link {
    /// Connects under `<client>.<purpose>` and declares or checks the topology.
    pub(super) async fn open(settings: &Settings, purpose: &str) -> Result<Self, Trouble> {
        let link = Self::connect(settings, purpose).await?;
        settings.prepare(&link.connection).await?;
        Ok(link)
    }

    pub(super) async fn connect(settings: &Settings, purpose: &str) -> Result<Self, Trouble> {
        let name = format!("{}.{purpose}", settings.client_name);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connecting = Connection::connect_uri(settings.uri.clone(), properties);
        let connection = tokio::time::timeout(CONNECT_LIMIT, connecting)
            .await
            .map_err(|_| Trouble::Silent)??;
        let events = Box::pin(connection.events_listener());
        Ok(Self { connection, events })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.status().connected()
    }

    /// Closes the connection, so that everything that lives on it ends.
    pub(super) async fn close(self, farewell: &str) {
        let closing = self.connection.close(200, ShortString::from(farewell));
        // Whether the broker heard it makes no difference to us.
        let _ = tokio::time::timeout(GOODBYE_LIMIT, closing).await;
    }
}

/// Why there is no usable connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Final until an operator acts.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// Comes when it is provisioned, or when a broker that starts has found it.
    #[error("there is no {what} yet")]
    Missing { what: String },
    #[error("no answer to the connection request")]
    Silent,
    #[error("the connection was lost")]
    Lost,
    #[error("confirms stopped coming")]
    Stalled,
    #[error("the queue {queue} ended its consumer")]
    Cancelled { queue: String },
    #[error(transparent)]
    Broker(#[from] lapin::Error),
}

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;

impl Trouble {
    /// What the broker's answer to a declaration of `what` means.
    pub(super) fn with(what: String, error: lapin::Error) -> Self {
        let ErrorKind::ProtocolError(refusal) = error.kind() else {
            return Self::Broker(error);
        };
        match refusal.get_id() {
            ACCESS_REFUSED | PRECONDITION_FAILED => Self::Topology(TopologyError {
                what,
                reason: refusal.get_message().to_string(),
            }),
            NOT_FOUND => Self::Missing { what },
            _ => Self::Broker(error),
        }
    }

    /// What the broker's answer to a consumer of the queue means. It says 406 of a stream while its
    /// members start, so that is not final here.
    pub(super) fn of_consuming(queue: &str, error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(refusal) if refusal.get_id() == PRECONDITION_FAILED => {
                Self::Broker(error)
            }
            _ => Self::with(format!("consumer of queue {queue}"), error),
        }
    }
}

/// A name for the wire, which holds 255 bytes.
pub(super) fn short(text: &str) -> lapin::Result<ShortString> {
    Ok(ShortString::try_new(text).map_err(io::Error::other)?)
}

/// As much of a text as the wire holds, for properties that are only looked at.
pub(super) fn shortened(text: &str) -> ShortString {
    const HOLDS: usize = 255;
    ShortString::from(&text[..text.floor_char_boundary(HOLDS)])
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPSoftError};

    use super::*;

    fn config(url: &str) -> RabbitMqConfig {
        RabbitMqConfig::new(url, "test")
    }

    #[test]
    fn an_empty_vhost_is_the_default_one_and_the_heartbeat_is_ours() {
        let settings = Settings::check(config("amqp://guest:guest@127.0.0.1:5672/")).unwrap();
        assert_eq!(settings.uri.vhost, "/");
        assert_eq!(settings.uri.query.heartbeat, Some(HEARTBEAT_SECONDS));
        assert_eq!(settings.broker(), "127.0.0.1:5672");
    }

    #[test]
    fn what_cannot_work_is_refused_at_start() {
        let cases: [fn(&mut RabbitMqConfig); 6] = [
            |config| config.url = "amqp://[::1]:5672".into(),
            |config| config.url = "http://127.0.0.1".into(),
            |config| config.namespace = "no spaces".into(),
            |config| config.namespace = "amq.ours".into(),
            |config| config.namespace = "x".repeat(NAMESPACE_LIMIT + 1),
            |config| config.packing.confirm_window = 0,
        ];
        for spoil in cases {
            let mut config = config("amqp://127.0.0.1");
            spoil(&mut config);
            Settings::check(config).unwrap_err();
        }
    }

    #[test]
    fn what_is_final_for_a_declaration_may_pass_for_a_consumer() {
        let answer = |kind: AMQPSoftError| -> lapin::Error {
            ErrorKind::ProtocolError(AMQPError::new(kind.into(), "because".into())).into()
        };
        let refused = || answer(AMQPSoftError::ACCESSREFUSED);
        let unfit = || answer(AMQPSoftError::PRECONDITIONFAILED);
        for error in [refused(), unfit()] {
            assert!(matches!(
                Trouble::with("q".into(), error),
                Trouble::Topology(_)
            ));
        }
        assert!(matches!(
            Trouble::of_consuming("q", refused()),
            Trouble::Topology(_)
        ));
        assert!(matches!(
            Trouble::of_consuming("q", unfit()),
            Trouble::Broker(_)
        ));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened(&"ü".repeat(200)).as_str().len(), 254);
    }
}
