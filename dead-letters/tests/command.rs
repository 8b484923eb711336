//! The command itself: what it prints, its exit codes, and that killing it loses nothing.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use events::choreography::{self, Step};
use events::{
    Event, Message, PurchaseAndRegister, SagaId, TicketId, Timestamp, UserId, UserTicketId,
};
use saga::bus::{Bus, Health, Queue, Settlement};
use saga::embedded::{EmbeddedBus, EmbeddedConfig, JournalRetention};
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig};
use saga::retry::RetryPolicy;
use saga::{SHUTDOWN_LIMIT, Tasks};
use serde_json::Value;

const MESSAGES: usize = 400;
/// After how long each of them is killed, in milliseconds: before it begins, in the middle, late.
const KILLS: [u64; 8] = [5, 30, 60, 90, 120, 160, 200, 260];

fn step() -> &'static Step {
    choreography::steps().next().unwrap()
}

fn event() -> Event {
    let saga_id = SagaId::mint();
    let message = Message::from(PurchaseAndRegister {
        user_id: UserId(1),
        ticket_id: TicketId(2),
        user_ticket_id: UserTicketId::mint(),
    });
    Event {
        id: Event::id_of(saga_id, message.message_type()),
        source: "api-gateway".into(),
        time: Timestamp::now(),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: None,
        message,
    }
}

/// A system that does not run but while a test wants it to.
enum System {
    Embedded(tempfile::TempDir),
    RabbitMq(RabbitMqConfig),
}

impl System {
    fn embedded() -> Self {
        Self::Embedded(tempfile::tempdir().unwrap())
    }

    fn rabbitmq() -> Self {
        let url = std::env::var("TEST_AMQP_URL").expect("run ./test, or set TEST_AMQP_URL");
        let mut config = RabbitMqConfig::new(url, "dlq-test");
        config.namespace = format!("dlq-{}", SagaId::mint());
        Self::RabbitMq(config)
    }

    async fn while_running(&self, work: impl AsyncFnOnce(Arc<dyn Bus>)) {
        let tasks = Tasks::new();
        let bus: Arc<dyn Bus> = match self {
            Self::Embedded(folder) => {
                let config = EmbeddedConfig {
                    path: folder.path().join("bus.db"),
                    retry: RetryPolicy::default(),
                    prefetch: MESSAGES,
                    journal: JournalRetention::default(),
                };
                EmbeddedBus::open(config, &tasks).await.unwrap()
            }
            Self::RabbitMq(config) => RabbitMqBus::start(config.clone(), &tasks).unwrap(),
        };
        bus.health().wait_for(Health::is_up).await.unwrap();
        work(Arc::clone(&bus)).await;
        bus.close().await;
        tasks.stop();
        tasks.join(SHUTDOWN_LIMIT).await.unwrap();
    }

    /// Parks so many messages; returns their ids.
    async fn park(&self, count: usize) -> HashSet<String> {
        let events: Vec<_> = (0..count).map(|_| event()).collect();
        self.while_running(async |bus| {
            bus.publish(&events).await.unwrap();
            let mut consumer = bus.consume(Queue::Work(step())).await.unwrap();
            let mut parked = 0;
            while parked < count {
                let taken = consumer.receive(count).await;
                parked += taken.len();
                let failure = "seat 7 is \"taken\"".to_owned();
                let park = Settlement::DeadLetter { failure };
                let settlements = taken.iter().map(|delivery| (delivery.tag, park.clone()));
                consumer.settle(settlements.collect()).await;
            }
        })
        .await;
        events.iter().map(|event| event.id.to_string()).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dlq"));
        command.env_remove("AMQP_URL").args(arguments);
        match self {
            Self::Embedded(folder) => command.arg("--data-dir").arg(folder.path()),
            Self::RabbitMq(config) => {
                command.args(["--amqp-url", &config.url, "--namespace", &config.namespace])
            }
        };
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        println!("{arguments:?}\n{}", String::from_utf8_lossy(&output.stdout));
        println!("{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn parked(&self) -> HashSet<String> {
        let list = self.json(&["list", "--messages", "--limit=100000", "--json"]);
        let ids = list.as_array().unwrap().iter();
        ids.map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn end(self) {
        if let Self::RabbitMq(config) = self {
            RabbitMqBus::delete_topology(config).await.unwrap();
        }
    }
}

async fn killing_it_loses_nothing(system: System) {
    let all = system.park(MESSAGES).await;
    for after in KILLS {
        let arguments = ["requeue", "--all", "--at-once", "--by=test"];
        let mut killed = system.command(&arguments).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(after)).await;
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
    // The broker gives back what a killed one had in hand as soon as it sees the connection gone.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut found = system.parked();
    println!("{} of {MESSAGES} are parked", found.len());
    assert!(found.is_subset(&all));
    system
        .while_running(async |bus| {
            let mut consumer = bus.consume(Queue::Work(step())).await.unwrap();
            while found.len() < all.len() {
                let taken = consumer.receive(MESSAGES).await;
                for delivery in &taken {
                    found.insert(delivery.event.as_ref().unwrap().id.to_string());
                }
                let done = taken
                    .iter()
                    .map(|delivery| (delivery.tag, Settlement::Done));
                consumer.settle(done.collect()).await;
            }
        })
        .await;
    assert_eq!(found, all);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_it_puts_back_loses_nothing_on_the_embedded_bus() {
    let test = killing_it_loses_nothing(System::embedded());
    tokio::time::timeout(Duration::from_secs(60), test)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_it_puts_back_loses_nothing_on_rabbitmq() {
    let test = killing_it_loses_nothing(System::rabbitmq());
    tokio::time::timeout(Duration::from_secs(60), test)
        .await
        .unwrap();
}

async fn a_session(system: System) {
    let ids: Vec<_> = system.park(4).await.into_iter().collect();
    let list = system.json(&["list", "--json"]);
    assert_eq!(list[0]["count"], 4);
    assert_eq!(list[0]["text"], "seat <n> is \"…\"");
    let cause = list[0]["cause"].as_str().unwrap();
    assert!(system.run(&["list"]).status.success());

    // Nobody handles it: the system is stopped.
    let back = [
        "requeue",
        &ids[0],
        "--at-once",
        "--by=ann",
        "--reason=again",
    ];
    assert_eq!(system.run(&back).status.code(), Some(0));
    assert_eq!(system.run(&back).status.code(), Some(1), "it is gone");
    let dropping = ["drop", &ids[1], "--by=ann", "--reason=a test of ours"];
    assert_eq!(system.run(&dropping).status.code(), Some(0));
    let unnamed = ["drop", "--by=ann", "--reason=whatever"];
    assert_eq!(system.run(&unnamed).status.code(), Some(2), "which?");
    let unexplained = ["drop", "--by=ann", "--cause", cause];
    assert_eq!(system.run(&unexplained).status.code(), Some(2), "why?");

    let shown = system.json(&["show", &ids[2], "--json"]);
    assert_eq!(shown["parked"][0]["failure"], "seat 7 is \"taken\"");
    assert_eq!(shown["parked"][0]["attempts"], 1);
    let dropped = system.json(&["show", &ids[1], "--json"]);
    assert_eq!(dropped["parked"].as_array().unwrap().len(), 0);
    let body = dropped["history"][0]["message"]["body"].as_str().unwrap();
    assert!(body.contains(&ids[1]), "{body}");
    assert_eq!(system.run(&["show", "unheard-of"]).status.code(), Some(1));

    let log = system.json(&["log", "--json"]);
    assert_eq!(log.as_array().unwrap().len(), 2);
    assert_eq!(
        (&log[0]["by"], &log[0]["reason"]),
        (&"ann".into(), &"again".into())
    );
    assert_eq!(system.parked(), ids[2..].iter().cloned().collect());
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_on_the_embedded_bus_tells_what_it_did() {
    a_session(System::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_on_rabbitmq_tells_what_it_did() {
    a_session(System::rabbitmq()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_again_or_is_not_handled_stops_it_with_exit_code_3() {
    let system = System::embedded();
    system.park(3).await;
    let back = ["requeue", "--all", "--watch=1500ms", "--by=ann", "--json"];
    assert_eq!(
        system.run(&back).status.code(),
        Some(3),
        "nobody handles it"
    );
    system
        .while_running(async |bus| {
            let mut consumer = bus.consume(Queue::Work(step())).await.unwrap();
            let failing = async {
                loop {
                    for delivery in consumer.receive(1).await {
                        let failure = "still taken".to_owned();
                        let park = Settlement::DeadLetter { failure };
                        consumer.settle(vec![(delivery.tag, park)]).await;
                    }
                }
            };
            let mut command = system.command(&["requeue", "--all", "--watch=20s", "--by=ann"]);
            let running = tokio::task::spawn_blocking(move || command.output().unwrap());
            tokio::select! {
                output = running => assert_eq!(output.unwrap().status.code(), Some(3)),
                () = failing => unreachable!("it fails for ever"),
            }
        })
        .await;
    assert_eq!(system.parked().len(), 3);
}

#[test]
fn a_folder_without_a_bus_is_told_and_not_filled() {
    let folder = tempfile::tempdir().unwrap();
    let system = System::Embedded(folder);
    let output = system.run(&["list"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("there is no bus in"), "{told}");
    let System::Embedded(folder) = system else {
        unreachable!()
    };
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
