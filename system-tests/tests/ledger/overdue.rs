//! The regist-worker is killed for good under load: its sagas show as overdue. It is started again:
//! they go on, and those past their deadline are refused and undone.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use events::choreography::API_GATEWAY;
use events::{
    Event, MessageType, PurchaseAndRegister, SagaId, TicketId, Timestamp, UserId, UserTicketId,
};
use saga::bus::Bus;
use serde_json::Value;
use system_tests::audit::settle;
use system_tests::deployment::{Servers, Services};
use system_tests::http;
use system_tests::load::{Load, Plan};
use system_tests::process::wait_until;

use super::{LIMIT, bus_that_is_up, metric};

/// Sagas that will be too late when the worker is back.
const LATE: u64 = 20;
/// Less than the table's limit of a step, so that who is overdue there is past it.
const DEADLINE: Duration = Duration::from_secs(4);
const WAITING: &str = r#"sagas_waiting{step="regist-worker.TicketPurchased"}"#;
const OVERDUE: &str = r#"sagas_overdue{step="regist-worker.TicketPurchased"}"#;
const TOLD: &str = "sagas wait longer at a step than it may take";

#[test]
fn sagas_whose_worker_is_gone_are_overdue_at_its_step_and_end_when_it_is_back() {
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, 1);
    // Callers do not wait for what cannot end, so that there are many. No other test logs by its name.
    services.gateway = servers.gateway("gateway-of-overdue", &["--wait-limit", "300ms"]);
    services.start_and_wait();
    let gateway = services.gateway.address();
    let load = Load::start(gateway, plan());
    load.wait_for_more(100, LIMIT);

    services.regist_workers[0].kill_dash_9();
    load.wait_for_more(100, LIMIT);
    let late = publish_late_ones(&servers.broker.url());
    let calls = load.finish();
    wait_until("overdue", LIMIT, || {
        let waiting = metric(gateway, WAITING);
        waiting > 100.0 && waiting == metric(gateway, OVERDUE)
    });
    let overdue = metric(gateway, OVERDUE);
    assert_shown(gateway, overdue, &late);
    assert_eq!(services.gateway.log().matches(TOLD).count(), 1);

    services.regist_workers[0].start();
    let totals = settle(&servers.databases(), &calls, LIMIT);
    wait_until("counting none", LIMIT, || {
        metric(gateway, WAITING) == 0.0 && metric(gateway, OVERDUE) == 0.0
    });
    println!("{} calls, {overdue} overdue, {totals:?}", calls.len());
    for saga in late {
        let saga = found(gateway, saga);
        assert_eq!(saga["status"], "compensated", "{saga}");
        assert_eq!(saga["reason"], "deadline_exceeded", "{saga}");
    }
    assert_eq!(
        servers.parked(),
        [],
        "a worker that is away is nobody's failure"
    );
}

fn plan() -> Plan {
    Plan {
        callers: 16,
        calls: 100_000,
        rest: Duration::from_millis(5),
        repeats_per_cent: 20,
        seed: system_tests::seed::seed(),
    }
}

/// As a gateway would, but for the short deadline.
fn publish_late_ones(amqp: &str) -> HashSet<SagaId> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let commands = runtime.block_on(async {
        let bus = bus_that_is_up(amqp, "test").await;
        let commands: Vec<Event> = (0..LATE).map(command).collect();
        bus.publish(&commands).await.expect("published");
        bus.close().await;
        commands
    });
    commands.iter().map(|command| command.saga_id).collect()
}

fn command(number: u64) -> Event {
    let (saga_id, time) = (SagaId::mint(), Timestamp::now());
    let message = PurchaseAndRegister {
        user_id: UserId(u64::MAX - number),
        ticket_id: TicketId(1),
        user_ticket_id: UserTicketId::mint(),
    };
    Event {
        id: Event::id_of(saga_id, MessageType::PurchaseAndRegister),
        source: API_GATEWAY.0.into(),
        time,
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: Some(time + DEADLINE),
        message: message.into(),
    }
}

fn found(gateway: SocketAddr, saga: SagaId) -> Value {
    let answer = http::get(gateway, &format!("/sagas/{saga}")).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["data"].clone()
}

/// The list has as many as the metric, and those that were published here, all waiting alike.
fn assert_shown(gateway: SocketAddr, overdue: f64, late: &HashSet<SagaId>) {
    let (mut listed, mut cursor) = (HashSet::new(), String::new());
    loop {
        let path = format!("/sagas?status=overdue&limit=100{cursor}");
        let page = http::get(gateway, &path).expect("a list").json();
        for saga in page["data"]["list"].as_array().expect("a list") {
            let waiting = &saga["waitingFor"];
            assert_eq!(waiting["service"], "regist-worker", "{saga}");
            assert_eq!(waiting["message"], "TicketPurchased", "{saga}");
            assert_eq!(waiting["overdue"], true, "{saga}");
            listed.insert(saga["sagaId"].as_str().expect("an id").to_owned());
        }
        match page["data"]["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed.len() as f64, overdue);
    for saga in late {
        assert!(listed.contains(&saga.to_string()));
        assert_eq!(found(gateway, *saga)["waitingFor"]["overdue"], true);
    }
}
