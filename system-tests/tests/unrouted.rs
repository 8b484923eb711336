//! Bindings are deleted under load: the alarm names the routing key, the bindings come back, and one
//! command puts everything where it belongs, killed in the middle or not.

use std::process::Command;
use std::time::Duration;

use system_tests::audit::settle;
use system_tests::deployment::{Servers, Services};
use system_tests::load::{Load, Plan};
use system_tests::process::wait_until;
use system_tests::seed::seed;
use system_tests::service::{Service, built};

/// The exchange, the message that finds no queue, and the queue.
const BINDINGS: [(&str, &str, &str); 2] = [
    (
        "saga.commands",
        "PurchaseAndRegister",
        "ticket-worker.PurchaseAndRegister",
    ),
    (
        "saga.events",
        "TicketPurchased",
        "regist-worker.TicketPurchased",
    ),
];
/// After how many milliseconds each command is killed.
const KILLS: [u64; 6] = [20, 40, 60, 80, 100, 120];
const SOME_CALLS: u64 = 300;
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn what_is_published_while_its_binding_is_deleted_is_told_of_and_put_where_it_belongs() {
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, 1);
    services.start_and_wait();
    let load = Load::start(services.gateway.address(), plan());
    load.wait_for_more(SOME_CALLS, LIMIT);

    for (exchange, message, queue) in BINDINGS {
        servers.broker.unbind(exchange, message, queue);
        let alarm = format!("no queue is bound for {exchange} with key {message}: ");
        wait_until("the alarm", LIMIT, || {
            let workers = services.ticket_workers.iter();
            let mut workers = workers.chain(&services.regist_workers);
            workers.any(|worker| worker.log().contains(&alarm))
        });
        load.wait_for_more(SOME_CALLS, LIMIT);
    }
    let unrouted = |servers: &Servers| {
        let queues = servers.broker.queues();
        let unrouted = queues.iter().find(|queue| queue.name == "saga.unrouted");
        unrouted.expect("the queue").messages
    };
    println!("{} messages are unrouted", unrouted(&servers));
    assert!(unrouted(&servers) > 0);

    for after in KILLS {
        let mut killed = put_back(&servers)
            .arg("--at-once")
            .spawn()
            .expect("a command");
        std::thread::sleep(Duration::from_millis(after));
        killed.kill().expect("a kill");
        killed.wait().expect("its end");
    }
    let status = put_back(&servers).status().expect("the command");
    assert!(status.success(), "{status}");

    let calls = load.finish();
    let totals = settle(&servers.databases(), &calls, LIMIT);
    println!("{} calls, {totals:?}", calls.len());
    wait_until("leaving nothing behind", LIMIT, || {
        servers.parked().is_empty()
    });
    services.all().for_each(|service| {
        Service::stop(service);
    });
}

fn put_back(servers: &Servers) -> Command {
    let mut command = Command::new(built("dlq"));
    command.args([
        "requeue",
        "--unrouted",
        "--by=test",
        "--amqp-url",
        &servers.broker.url(),
    ]);
    command
}

fn plan() -> Plan {
    Plan {
        callers: 64,
        calls: 100_000,
        rest: Duration::from_millis(10),
        repeats_per_cent: 20,
        seed: seed(),
    }
}
