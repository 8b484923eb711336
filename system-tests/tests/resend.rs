//! A stuck saga is repaired: a message that is gone from its queue is handed out again by
//! `event-replay resend`, and the saga ends as it should, or, past its deadline, refused and undone.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;
use std::time::Duration;

use events::{Event, MessageType, PurchaseAndRegister, SagaId, TicketId, Timestamp, UserId};
use saga::bus::{Bus, Health};
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig, TopologyMode};
use saga::{SHUTDOWN_LIMIT, Tasks};
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};
use system_tests::deployment::{Embedded, Servers, Services};
use system_tests::http::{self, Connection as Http};
use system_tests::process::wait_until;
use system_tests::service::{Service, built};

/// Far longer than anything here takes on a busy machine; a step is overdue after five seconds.
const LIMIT: Duration = Duration::from_secs(60);
const STUCK: &str = "regist-worker.TicketPurchased";

/// The command, on one system.
struct Replay(Vec<String>);

impl Replay {
    fn on(place: &[&str]) -> Self {
        Self(place.iter().map(|&flag| flag.to_owned()).collect())
    }

    fn run(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(built("event-replay"));
        command.env_clear().args(arguments).args(&self.0);
        let output = command.arg("--json").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {told}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until these sagas and no others are overdue; nothing is sent.
    fn wait_until_overdue(&self, sagas: &[&str]) {
        wait_until("seeing the sagas overdue", LIMIT, || {
            let found = self.run(&["resend", "--overdue"]);
            assert_eq!(found["sent"], false);
            let messages = found["messages"].as_array().unwrap();
            let all = sagas.iter().all(|saga| {
                let is_it = |message: &&Value| message["saga"] == *saga;
                let message = messages.iter().find(is_it);
                message.is_some_and(|message| message["queue"] == STUCK)
            });
            all && messages.len() == sagas.len()
        });
    }
}

fn start_saga(gateway: &Service, user: u64) -> String {
    let body = format!("{{\"userId\": {user}, \"ticketId\": 1}}");
    let mut connection = Http::open(gateway.address()).unwrap();
    let answer = connection.post_async("/regist/trans", &body).unwrap();
    let location = answer.header("location");
    let location = location.unwrap_or_else(|| panic!("{} {}", answer.status, answer.body));
    location.trim_start_matches("/sagas/").to_owned()
}

fn saga(gateway: &Service, id: &str) -> Value {
    let answer = http::get(gateway.address(), &format!("/sagas/{id}"));
    answer.map_or(Value::Null, |answer| answer.json()["data"].clone())
}

fn wait_until_it_is(gateway: &Service, id: &str, status: &str) -> Value {
    wait_until(status, LIMIT, || saga(gateway, id)["status"] == status);
    saga(gateway, id)
}

/// The gateway gives a saga a minute, which a very busy machine may need for all this.
fn wait_until_repaired(gateway: &Service, id: &str) {
    wait_until("repaired", LIMIT, || {
        saga(gateway, id)["status"] != "running"
    });
    let ended = saga(gateway, id);
    let is_late = ended["reason"] == "deadline_exceeded";
    assert!(ended["status"] == "completed" || is_late, "{ended}");
}

fn depth(servers: &Servers, name: &str) -> u64 {
    let queues = servers.broker.queues();
    let found = queues.iter().find(|queue| queue.name == name);
    found.map_or(0, |queue| queue.messages)
}

#[test]
fn a_message_deleted_by_hand_is_sent_again_and_its_saga_ends_on_rabbitmq() {
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, 1);
    services.start_and_wait();
    let replay = Replay::on(&["--amqp-url", &servers.broker.url()]);
    services.regist_workers[0].kill_dash_9();
    let stuck = start_saga(&services.gateway, 1);
    wait_until("the message in its queue", LIMIT, || {
        depth(&servers, STUCK) == 1
    });
    servers.broker.control(&["purge_queue", STUCK]);
    let other = start_saga(&services.gateway, 2);
    services.regist_workers[0].start_and_wait();
    wait_until_it_is(&services.gateway, &other, "completed");

    replay.wait_until_overdue(&[&stuck]);
    assert_eq!(saga(&services.gateway, &stuck)["status"], "running");
    let sent = replay.run(&["resend", "--overdue", "--yes"]);
    assert_eq!(sent["sent"], true);
    wait_until_repaired(&services.gateway, &stuck);

    // All of it again, which is safe, and changes nothing.
    let before = saga(&services.gateway, &stuck);
    let again = replay.run(&["resend", "--saga", &stuck, "--yes"]);
    let types: Vec<_> = again["messages"].as_array().unwrap().iter().collect();
    assert!(types.len() >= 2, "{again}");
    replay.wait_until_overdue(&[]);
    let shown = replay.run(&["show", &stuck]);
    assert_eq!(shown["status"], before["status"]);
    assert_eq!(saga(&services.gateway, &stuck)["status"], before["status"]);
    assert!(servers.parked().is_empty());
}

#[test]
fn a_message_deleted_by_hand_is_sent_again_and_its_saga_ends_on_the_embedded_bus() {
    let mut system = Embedded::create();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bus = system.databases.ticket.replace("ticket.db", "bus.db");
    let folder = bus
        .trim_start_matches("sqlite://")
        .trim_end_matches("/bus.db");
    let replay = Replay::on(&["--data-dir", folder]);
    // As a fault of the disk would: what regist-worker gets next is gone from its queue.
    let lose = "CREATE TRIGGER lose AFTER INSERT ON queued WHEN NEW.queue = 'regist-worker.TicketPurchased' \
        BEGIN DELETE FROM queued WHERE queue = NEW.queue AND position = NEW.position; END";
    let sql = |statement: &'static str| {
        runtime.block_on(async {
            let mut file = SqliteConnection::connect(&bus).await.unwrap();
            sqlx::raw_sql(statement).execute(&mut file).await.unwrap();
        });
    };
    system.service.start_and_wait();
    sql(lose);
    let stuck = start_saga(&system.service, 1);
    replay.wait_until_overdue(&[&stuck]);
    sql("DROP TRIGGER lose");

    // Beside the running system, and from a recording of it.
    let recording = format!("{folder}/stuck.jsonl");
    replay.run(&["record", &recording, "--saga", &stuck]);
    let sent = replay.run(&["resend", "--saga", &stuck, "--file", &recording, "--yes"]);
    assert_eq!(sent["messages"].as_array().unwrap().len(), 2, "{sent}");
    wait_until_repaired(&system.service, &stuck);
    replay.wait_until_overdue(&[]);
}

#[test]
fn with_the_worker_gone_sagas_are_overdue_and_past_their_deadline_they_are_undone() {
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, 1);
    services.start_and_wait();
    let replay = Replay::on(&["--amqp-url", &servers.broker.url()]);
    services.regist_workers[0].kill_dash_9();
    let in_time = start_with_deadline(&servers, 1, Duration::from_secs(3_600));
    let late = start_with_deadline(&servers, 2, Duration::from_secs(3));
    wait_until("both waiting", LIMIT, || depth(&servers, STUCK) == 2);
    replay.wait_until_overdue(&[&in_time, &late]);
    servers.broker.control(&["purge_queue", STUCK]);
    services.regist_workers[0].start_and_wait();

    let sent = replay.run(&["resend", "--overdue", "--yes", "--rate", "1"]);
    assert_eq!(sent["messages"].as_array().unwrap().len(), 2, "{sent}");
    wait_until_it_is(&services.gateway, &in_time, "completed");
    let undone = wait_until_it_is(&services.gateway, &late, "compensated");
    assert_eq!(undone["reason"], "deadline_exceeded");
}

/// A saga past the gateway, which gives every saga a minute.
fn start_with_deadline(servers: &Servers, user: u64, within: Duration) -> String {
    let saga_id = SagaId::mint();
    let command = || Event {
        id: Event::id_of(saga_id, MessageType::PurchaseAndRegister),
        source: "api-gateway".into(),
        time: Timestamp::now(),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: Some(Timestamp::now() + within),
        message: PurchaseAndRegister {
            user_id: UserId(user),
            ticket_id: TicketId(1),
            user_ticket_id: events::UserTicketId::mint(),
        }
        .into(),
    };
    let mut config = RabbitMqConfig::new(servers.broker.url(), "resend-test");
    config.topology = TopologyMode::Check;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let tasks = Tasks::new();
        let bus = RabbitMqBus::start(config, &tasks).unwrap();
        bus.health().wait_for(Health::is_up).await.unwrap();
        bus.publish(&[command()]).await.unwrap();
        bus.close().await;
        tasks.stop();
        tasks.join(SHUTDOWN_LIMIT).await.unwrap();
    });
    saga_id.to_string()
}
