//! How fast a ledger is rebuilt, and what that does to the system. Run by hand, with optimisation:
//! `./test --release -p system-tests --test ledger -- --ignored --nocapture measurement`; `SAGAS` sets
//! the size.

use std::process::Command;
use std::time::{Duration, Instant};

use events::choreography::API_GATEWAY;
use events::{
    Event, MessageType, PurchaseAndRegister, SagaId, TicketId, Timestamp, UserId, UserTicketId,
};
use saga::bus::Bus;
use system_tests::deployment::{Servers, Services};
use system_tests::load::{Load, Plan};
use system_tests::process::{run, wait_until};
use system_tests::service::built;

use super::bus_that_is_up;
use super::database::GatewayDatabase;

/// A fifth of them are refused and undone, so that they have 3.2 events each: a million.
const SAGAS: u64 = 315_000;
const AT_ONCE: usize = 2_000;
const LIMIT: Duration = Duration::from_secs(600);
/// How long the load runs before, to compare with.
const ALONE: Duration = Duration::from_secs(10);

#[test]
#[ignore = "a measurement, not a claim"]
fn a_rebuild_of_a_million_events_while_sagas_run() {
    let sagas = std::env::var("SAGAS").map_or(SAGAS, |text| text.parse().expect("a number"));
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, 1);
    services.start_and_wait();
    let (amqp, databases) = (servers.broker.url(), servers.databases());
    let ledger = GatewayDatabase::at(&databases.gateway);
    let start = Instant::now();
    publish(&amqp, sagas);
    let ended = "SELECT CAST(count(*) AS text) FROM saga WHERE ended_at IS NOT NULL";
    let all = [sagas.to_string()];
    wait_until("ending", LIMIT, || ledger.texts(ended) == all);
    println!(
        "{sagas} sagas ended within {:.0} s",
        start.elapsed().as_secs_f64()
    );
    ledger.execute("CREATE TABLE before AS SELECT * FROM saga");

    let load = Load::start(services.gateway.address(), plan());
    let rate =
        |since: Instant, calls| (load.ended() - calls) as f64 / since.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs(1));
    let (since, calls) = (Instant::now(), load.ended());
    std::thread::sleep(ALONE);
    println!("load alone: {:.0} sagas/s", rate(since, calls));
    let (since, calls) = (Instant::now(), load.ended());
    let flags = ["--amqp-url", &amqp, "--database-url", &databases.gateway];
    let told = run(Command::new(built("ledger")).arg("rebuild").args(flags));
    println!(
        "during the rebuild: {:.0} sagas/s\n{told}",
        rate(since, calls)
    );
    let changed = "SELECT CAST(count(*) AS text)
        FROM (SELECT * FROM before EXCEPT SELECT * FROM saga) AS changed";
    assert_eq!(ledger.texts(changed), ["0"]);
    assert!(told.contains("0 were missing and 0 different"));
}

fn plan() -> Plan {
    Plan {
        callers: 32,
        calls: u64::MAX,
        rest: Duration::ZERO,
        repeats_per_cent: 20,
        seed: 1,
    }
}

fn publish(amqp: &str, sagas: u64) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let bus = bus_that_is_up(amqp, "measurement").await;
        let commands: Vec<u64> = (0..sagas).collect();
        for some in commands.chunks(AT_ONCE) {
            let commands: Vec<Event> = some.iter().map(|number| command(*number)).collect();
            bus.publish(&commands).await.expect("published");
        }
        bus.close().await;
    });
}

/// Every fifth wants what the one before it has.
fn command(number: u64) -> Event {
    let (saga_id, time) = (SagaId::mint(), Timestamp::now());
    let message = PurchaseAndRegister {
        user_id: UserId(u64::MAX - (number - u64::from(number % 5 == 4))),
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
        deadline: None,
        message: message.into(),
    }
}
