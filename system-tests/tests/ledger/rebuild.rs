//! `ledger rebuild` under load, on a ledger that was damaged: every row is again as it was, and no
//! caller hears of an unknown saga.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use system_tests::audit::{Databases, settle, unfinished};
use system_tests::deployment::{Embedded, Servers, Services};
use system_tests::http;
use system_tests::load::{Load, Plan};
use system_tests::process::{run, wait_until};
use system_tests::service::built;

use super::LIMIT;
use super::database::GatewayDatabase;

#[test]
fn a_damaged_ledger_is_rebuilt_row_by_row_while_sagas_run_embedded() {
    let mut system = Embedded::create();
    system.service.start_and_wait();
    let flags = ["--data-dir", system.folder.as_str()];
    is_rebuilt(system.service.address(), &system.databases, &flags);
}

#[test]
fn a_damaged_ledger_is_rebuilt_row_by_row_while_sagas_run_on_rabbitmq() {
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, 1);
    services.start_and_wait();
    let (amqp, databases) = (servers.broker.url(), servers.databases());
    let flags = ["--amqp-url", &amqp, "--database-url", &databases.gateway];
    is_rebuilt(services.gateway.address(), &databases, &flags);
}

fn is_rebuilt(gateway: SocketAddr, databases: &Databases, flags: &[&str]) {
    let ledger = GatewayDatabase::at(&databases.gateway);
    let load = Load::start(gateway, plan());
    load.wait_for_more(400, LIMIT);
    load.pause(LIMIT);
    wait_until("ending", LIMIT, || unfinished(&databases.read(), &[]) == 0);
    let before = ledger.rows();
    let spared = damage(&ledger);
    load.resume();
    load.wait_for_more(50, LIMIT);

    let first = rebuild_while_asking_for(gateway, &spared, flags);
    assert!(!first.contains("0 were missing and 0 different"), "{first}");
    let after: HashSet<String> = ledger.rows().into_iter().collect();
    let lost: Vec<&String> = before.iter().filter(|row| !after.contains(*row)).collect();
    assert!(
        lost.is_empty(),
        "{} of {}: {:#?}",
        lost.len(),
        before.len(),
        lost.first()
    );

    load.wait_for_more(50, LIMIT);
    let calls = load.finish();
    settle(databases, &calls, LIMIT);
    let settled = ledger.rows();
    let second = rebuild(flags);
    assert!(
        second.contains("0 were missing and 0 different"),
        "{second}"
    );
    assert_eq!(ledger.rows(), settled);
    println!("{first}{second}");
}

fn plan() -> Plan {
    Plan {
        callers: 8,
        calls: 100_000,
        rest: Duration::from_millis(5),
        repeats_per_cent: 20,
        seed: system_tests::seed::seed(),
    }
}

/// By the last digit of the id: rows that are gone, unreadable, or show what they should not. Returns
/// a saga that is as it was.
fn damage(ledger: &GatewayDatabase) -> String {
    let of = |digits: &str| format!("WHERE substr(CAST(saga_id AS text), 36) IN ({digits})");
    let gone = of("'0','1','2'");
    ledger.execute(&format!("DELETE FROM saga {gone}"));
    let ruined = of("'3','4','5'");
    ledger.execute(&format!("UPDATE saga SET timeline = 'ruined' {ruined}"));
    let wrong = of("'6','7','8'");
    ledger.execute(&format!("UPDATE saga SET status = 'running' {wrong}"));
    let spared = of("'a','b','c','d','e','f'");
    let found = ledger.texts(&format!(
        "SELECT CAST(saga_id AS text) FROM saga {spared} LIMIT 1"
    ));
    found.into_iter().next().expect("a saga")
}

fn rebuild(flags: &[&str]) -> String {
    run(Command::new(built("ledger")).arg("rebuild").args(flags))
}

fn rebuild_while_asking_for(gateway: SocketAddr, saga: &str, flags: &[&str]) -> String {
    let (is_over, path) = (AtomicBool::new(false), format!("/sagas/{saga}"));
    std::thread::scope(|threads| {
        let asking = threads.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let answer = http::get(gateway, &path).expect("an answer");
                assert!([200, 503].contains(&answer.status), "{answer:?}");
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let told = rebuild(flags);
        is_over.store(true, Ordering::Relaxed);
        asking.join().expect("no saga was unknown");
        told
    })
}
