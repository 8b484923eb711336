//! A TCP proxy in front of the broker, to cut the line without touching a broker that others use.

use std::net::SocketAddr;

use saga::Tasks;
use saga::rabbitmq::RabbitMqConfig;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::broker::Broker;

pub(crate) struct Proxy {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn start(broker: String, tasks: &Tasks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            is_open: watch::Sender::new(true),
        };
        let (is_open, tasks_of_lines) = (proxy.is_open.clone(), tasks.clone());
        let accepting = async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut open = is_open.subscribe();
                if *open.borrow() {
                    let server = TcpStream::connect(&broker).await.unwrap();
                    tasks_of_lines.spawn("line", async move {
                        let (mut client, mut server) = (client, server);
                        tokio::select! {
                            _ = open.wait_for(|open| !open) => {}
                            _ = copy_bidirectional(&mut client, &mut server) => {}
                        }
                    });
                }
            }
        };
        tasks.spawn("proxy", accepting);
        proxy
    }

    /// The URL of the broker by way of the proxy.
    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@{}", self.address)
    }

    /// Cuts every line, and each new one at once.
    pub(crate) fn cut(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.is_open.send_replace(true);
    }
}

/// The configuration by way of a proxy.
pub(crate) async fn proxied(broker: &Broker) -> (Proxy, RabbitMqConfig) {
    let (_, address) = broker
        .config
        .url
        .rsplit_once('@')
        .expect("a user in the URL");
    let address = address.split('/').next().unwrap().to_owned();
    let proxy = Proxy::start(address, &broker.tasks).await;
    let config = RabbitMqConfig {
        url: proxy.url(),
        ..broker.config.clone()
    };
    (proxy, config)
}
