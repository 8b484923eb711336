//! A broker that operators provisioned from `rabbitmq-definitions`: services that may do no more than
//! they need do all that they do, and nothing else.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor, PgConnection};
use system_tests::deployment::Servers;
use system_tests::http::{Connection, get, post};
use system_tests::leash;
use system_tests::process::{run, wait_until};
use system_tests::purchase::{POISON, POISONED_USER};
use system_tests::service::{Service, built};

const NAMESPACE: &str = "provisioned";
/// One tier, soon over.
const DELAYS: &str = "200ms";
const PASSWORD: &str = "secret";
const LIMIT: Duration = Duration::from_secs(60);

fn url(servers: &Servers, user: &str) -> String {
    let port = servers.broker.port();
    format!("amqp://{NAMESPACE}.{user}:{PASSWORD}@127.0.0.1:{port}/%2f")
}

fn import(servers: &Servers, flags: &[&str]) -> Value {
    let printed = run(Command::new(built("rabbitmq-definitions"))
        .args(["--namespace", NAMESPACE])
        .args(["--retry-delays", DELAYS])
        .args(flags));
    let folder = leash::temporary_folder("definitions");
    let file = folder.join("definitions.json");
    std::fs::write(&file, &printed).unwrap();
    for path in [&folder, &file] {
        leash::give(path, leash::unprivileged_user());
    }
    let file = file.to_str().unwrap();
    servers.broker.control(&["import_definitions", file]);
    serde_json::from_str(&printed).unwrap()
}

fn provision(servers: &Servers) {
    for user in import(servers, &[])["users"].as_array().unwrap() {
        let name = user["name"].as_str().unwrap();
        servers.broker.control(&["change_password", name, PASSWORD]);
    }
}

fn service(servers: &Servers, name: &str, database: &str) -> Service {
    let url = url(servers, name);
    let flags = [
        ["--amqp-url", &url],
        ["--database-url", database],
        ["--namespace", NAMESPACE],
        ["--retry-delays", DELAYS],
        ["--topology", "check"],
    ];
    let flags = flags.concat();
    let mut service = match name {
        "api-gateway" => Service::with_http(name, name, &flags),
        _ => Service::with_ready_file(name, name, &flags),
    };
    service.start_and_wait();
    service
}

/// An operator's command as this user.
fn command(servers: &Servers, user: &str, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(built(program));
    command
        .args(arguments)
        .args(["--amqp-url", &url(servers, user)])
        .args(["--namespace", NAMESPACE])
        .env("TOPOLOGY", "check");
    command.output().unwrap()
}

fn execute(database: &str, statement: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(database).await.unwrap();
        connection.execute(statement).await.unwrap();
        connection.close().await.unwrap();
    });
}

#[test]
fn services_that_may_do_no_more_than_they_need_do_all_on_a_provisioned_broker() {
    let servers = Servers::start_new();
    provision(&servers);
    let databases = servers.databases();
    let gateway = service(&servers, "api-gateway", &databases.gateway);
    let mut ticket = service(&servers, "ticket-worker", &databases.ticket);
    let regist = service(&servers, "regist-worker", &databases.regist);
    let buy = |user: u64| {
        let order = json!({"userId": user, "ticketId": 7}).to_string();
        post(gateway.address(), "/regist/trans", &order).unwrap()
    };

    assert_eq!(buy(1).status, 200);
    assert_eq!(buy(1).status, 409);
    let tickets = get(gateway.address(), "/userTicket/list?userId=1").unwrap();
    assert_eq!(tickets.status, 200, "a question to the ticket worker");

    // Through a retry tier into the dead letters, and back by the operator's hand.
    execute(&databases.ticket, POISON);
    let saga = begin(&gateway, POISONED_USER);
    let parked = || {
        let listed = command(&servers, "operator", "dlq", &["list", "--json"]);
        assert!(listed.status.success(), "{listed:?}");
        let groups: Value = serde_json::from_slice(&listed.stdout).unwrap();
        groups[0]["count"].as_u64()
    };
    wait_until("a dead letter", LIMIT, || parked() == Some(1));
    assert_eq!(get(gateway.address(), "/dead-letters").unwrap().status, 200);
    execute(&databases.ticket, "DROP TRIGGER poison ON user_ticket");
    put_back(&servers, "--all");
    wait_until_completed(&gateway, &saga);
    assert_eq!(parked(), None);
    let id = saga.trim_start_matches("/sagas/");
    let resend = ["resend", "--saga", id, "--yes"];
    let resent = command(&servers, "operator", "event-replay", &resend);
    assert!(resent.status.success(), "{resent:?}");

    // Unrouted, told of, and put where it belongs once the binding is there again.
    let exchange = format!("{NAMESPACE}.saga.commands");
    let queue = format!("{NAMESPACE}.ticket-worker.PurchaseAndRegister");
    servers
        .broker
        .unbind(&exchange, "PurchaseAndRegister", &queue);
    let saga = begin(&gateway, 2);
    ticket.wait_until_it_says(&format!("no queue is bound for {exchange}"));
    import(&servers, &["--part", "topology"]);
    put_back(&servers, "--unrouted");
    wait_until_completed(&gateway, &saga);

    let not_its_own = command(&servers, "ticket-worker", "dlq", &["log"]);
    let refusal = String::from_utf8(not_its_own.stderr).unwrap();
    assert!(refusal.contains("ACCESS_REFUSED"), "{refusal}");
    for service in [&gateway, &ticket, &regist] {
        let log = service.log();
        assert!(!log.contains("ACCESS_REFUSED"), "{log}");
    }
}

/// Where to ask for the saga.
fn begin(gateway: &Service, user: u64) -> String {
    let order = json!({"userId": user, "ticketId": 7}).to_string();
    let begun = Connection::open(gateway.address())
        .and_then(|mut http| http.post_async("/regist/trans", &order))
        .unwrap();
    begun.header("location").unwrap().to_owned()
}

fn wait_until_completed(gateway: &Service, saga: &str) {
    wait_until("the saga's end", LIMIT, || {
        let saga = get(gateway.address(), saga).unwrap().json();
        saga["data"]["status"] == "completed"
    });
}

fn put_back(servers: &Servers, which: &str) {
    let requeue = ["requeue", which, "--at-once", "--by=ann"];
    let requeued = command(servers, "operator", "dlq", &requeue);
    assert!(requeued.status.success(), "{requeued:?}");
}
