//! Of two gateways one projects. It is killed, and the other takes over.

use std::time::Instant;

use system_tests::deployment::{Servers, Services};
use system_tests::http;
use system_tests::process::wait_until;
use system_tests::service::Service;
use uuid::Uuid;

use super::{LIMIT, metric};

#[test]
fn when_the_gateway_that_projects_is_killed_the_other_one_takes_over() {
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, 1);
    services.start_and_wait();
    let mut other = servers.gateway("api-gateway-2", &[]);
    other.start_and_wait();
    let projects = |gateway: &Service| metric(gateway.address(), "ledger_projecting ") == 1.0;
    assert!(projects(&services.gateway) && !projects(&other));
    assert_in_the_ledger(&servers, buy(&other, 1));

    services.gateway.kill_dash_9();
    let killed = Instant::now();
    let saga = buy(&other, 2);
    wait_until("taking over", LIMIT, || projects(&other));
    println!(
        "took over {:.1} s after the kill",
        killed.elapsed().as_secs_f64()
    );
    assert_in_the_ledger(&servers, saga);
}

fn buy(gateway: &Service, user: u64) -> Uuid {
    let body = format!(r#"{{"userId":{user},"ticketId":1}}"#);
    let answer = http::post(gateway.address(), "/regist/trans", &body).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    let id = answer.json()["data"]["sagaId"].as_str().map(str::parse);
    id.expect("an id").expect("a UUID")
}

fn assert_in_the_ledger(servers: &Servers, saga: Uuid) {
    wait_until("projecting", LIMIT, || {
        let world = servers.databases().read();
        world
            .ledger
            .get(&saga)
            .is_some_and(|status| status == "completed")
    });
}
