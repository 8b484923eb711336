//! A requeue that an operator began, when its gateway is asked to stop: it ends with what it has in
//! hand done, the rest parked, and both told.

use std::time::Duration;

use serde_json::Value;
use system_tests::deployment::{Servers, Services};
use system_tests::http;
use system_tests::process::wait_until;
use system_tests::service::Service;

use crate::parked;

const LIMIT: Duration = Duration::from_secs(30);
/// One, which is watched for longer than a stop may take.
const SLOWLY: &str = r#"{"all":true,"ramp":[1],"watchSeconds":600,"reason":"a test"}"#;

fn data(gateway: &Service, path: &str) -> Value {
    let answer = http::get(gateway.address(), path).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["data"].clone()
}

#[test]
fn a_stop_of_the_process_waits_for_what_a_requeue_has_in_hand() {
    let servers = Servers::start_new();
    parked::on_servers(&servers);
    let mut services = Services::on(&servers, 1);
    services.start_and_wait();
    let gateway = &mut services.gateway;
    let mut connection = http::Connection::open(gateway.address()).unwrap();
    let begun = connection
        .post_async("/dead-letters/requeue", SLOWLY)
        .unwrap();
    assert_eq!(begun.status, 202, "{begun:?}");
    let run = begun.header("location").unwrap().to_owned();
    wait_until("put back", LIMIT, || data(gateway, &run)["count"] == 1);

    assert!(gateway.stop().success());
    gateway.start_and_wait();
    // Or else it would have been cut off before it could say so.
    let id = run.rsplit('/').next().unwrap();
    let log = gateway.log();
    let mut lines = log.lines().filter(|line| line.contains(id));
    assert!(lines.any(|line| line.contains("dead letters were dealt with")));
    let told = data(gateway, &run);
    assert_eq!(
        (&told["status"], &told["count"]),
        (&"elsewhere".into(), &1.into())
    );
    assert_eq!(data(gateway, "/dead-letters/log")["total"], 1);
    assert_eq!(data(gateway, "/dead-letters/messages")["total"], 2);
}
