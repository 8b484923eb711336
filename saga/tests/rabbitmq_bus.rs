//! The conformance suite on RabbitMQ: each claim in a namespace of its own, gone afterwards.

mod conformance;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use conformance::{Broker, DeadLetter, PREFETCH, RETRY_DELAY, conformance};
use events::choreography::Step;
use events::{EVENT_CONTENT_TYPE, SagaId};
use lapin::options::{
    BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use saga::bus::{Bus, Health};
use saga::dead_letters::DeadLetters;
use saga::rabbitmq::topology::{Names, parking};
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig, RabbitMqDeadLetters};
use saga::retry::RetryPolicy;
use saga::{SHUTDOWN_LIMIT, Tasks};
use tokio::runtime::Runtime;

conformance!(RabbitMqBroker);

struct RabbitMqBroker {
    config: RabbitMqConfig,
    names: Names,
    clients: Mutex<Vec<Client>>,
}

/// A client with a runtime of its own, which can be dropped with everything that runs on it.
struct Client {
    runtime: Runtime,
    tasks: Tasks,
    bus: Arc<RabbitMqBus>,
}

impl RabbitMqBroker {
    fn clients(&self) -> MutexGuard<'_, Vec<Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client that is perhaps not connected yet.
    fn start_client(&self) -> Arc<RabbitMqBus> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let tasks = Tasks::new();
        let bus = {
            let _on_its_runtime = runtime.enter();
            RabbitMqBus::start(self.config.clone(), &tasks).expect("a good configuration")
        };
        self.clients().push(Client {
            runtime,
            tasks,
            bus: Arc::clone(&bus),
        });
        bus
    }

    /// A plain channel, past our bus.
    async fn channel(&self) -> (Connection, Channel) {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&self.config.url, properties).await;
        let connection = connection.expect("RabbitMQ is there");
        let channel = connection.create_channel().await.expect("a channel");
        (connection, channel)
    }
}

#[async_trait]
impl Broker for RabbitMqBroker {
    async fn start() -> Self {
        let url = std::env::var("TEST_AMQP_URL").expect("run ./test, or set TEST_AMQP_URL");
        let mut config = RabbitMqConfig::new(url, "conformance");
        config.namespace = format!("conformance-{}", SagaId::mint());
        config.retry = RetryPolicy {
            delays: vec![RETRY_DELAY],
        };
        config.prefetch = Some(u16::try_from(PREFETCH).expect("a small number"));
        Self {
            names: Names::new(&config.namespace),
            config,
            clients: Mutex::default(),
        }
    }

    async fn client(&self) -> Arc<dyn Bus> {
        let bus = self.start_client();
        let mut health = bus.health();
        health.wait_for(Health::is_up).await.expect("it runs");
        bus
    }

    async fn close(&self) {
        let clients = std::mem::take(&mut *self.clients());
        for Client {
            runtime,
            tasks,
            bus,
        } in clients
        {
            bus.close().await;
            tasks.stop();
            tasks.join(SHUTDOWN_LIMIT).await.expect("everything ended");
            runtime.shutdown_background();
        }
    }

    async fn crash(&self) {
        let clients = std::mem::take(&mut *self.clients());
        // A runtime cannot be dropped on a runtime.
        let dropping = std::thread::spawn(move || drop(clients));
        dropping.join().expect("the runtimes are dropped");
    }

    async fn put_garbage(&self, step: &'static Step) {
        let (_connection, channel) = self.channel().await;
        let confirm = ConfirmSelectOptions::default();
        channel.confirm_select(confirm).await.expect("confirms");
        let (front, key) = (self.names.front(step.on.class()), step.on.name());
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default().with_content_type(EVENT_CONTENT_TYPE.into());
        let garbage = b"{\"specversion\":\"1.0\"";
        let published =
            channel.basic_publish(front.into(), key.into(), options, garbage, properties);
        let confirm = published.await.expect("a channel").await;
        assert!(confirm.expect("an answer").is_ack());
    }

    async fn dead_letters(&self, step: &'static Step) -> Vec<DeadLetter> {
        let (_connection, channel) = self.channel().await;
        let queue = parking(&self.names.work(step));
        let mut letters = Vec::new();
        let options = BasicGetOptions::default();
        while let Some(message) = {
            let got = channel.basic_get(queue.as_str().into(), options).await;
            got.expect("the queue is there")
        } {
            letters.push(letter(message.delivery));
        }
        give_back(&channel, &queue, letters.len()).await;
        letters
    }

    async fn letters(&self) -> Box<dyn DeadLetters> {
        let letters = RabbitMqDeadLetters::open(self.config.clone()).await;
        Box::new(letters.expect("RabbitMQ is there"))
    }

    async fn stop(self) {
        self.crash().await;
        let deleted = RabbitMqBus::delete_topology(self.config).await;
        deleted.expect("the namespace is removed");
    }
}

/// All that the channel has in hand, so that the next look finds them.
async fn give_back(channel: &Channel, queue: &str, letters: usize) {
    if letters == 0 {
        return;
    }
    let all = BasicNackOptions {
        multiple: true,
        requeue: true,
    };
    channel.basic_nack(0, all).await.expect("a channel");
    let depth = async || {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let arguments = FieldTable::default();
        let declared = channel.queue_declare(queue.into(), options, arguments);
        declared.await.expect("the queue is there").message_count()
    };
    while (depth().await as usize) < letters {
        tokio::task::yield_now().await;
    }
}

fn letter(message: lapin::message::Delivery) -> DeadLetter {
    let headers = message.properties.headers().clone().unwrap_or_default();
    let header = |name: &str| headers.inner().get(name);
    // What the broker parks itself has its word for it.
    let failure = header("x-saga-failure").or_else(|| header("x-first-death-reason"));
    let Some(AMQPValue::LongString(failure)) = failure else {
        panic!("no failure in {headers:?}");
    };
    let attempts = match header("x-saga-attempts") {
        Some(AMQPValue::LongInt(attempts)) => u32::try_from(*attempts).expect("a count"),
        _ => 0,
    };
    DeadLetter {
        json: message.data,
        failure: failure.to_string(),
        attempts,
    }
}
