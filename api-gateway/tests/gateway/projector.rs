//! The projector between journal and ledger, with crashes and replicas.

use std::sync::Arc;
use std::time::Duration;

use api_gateway::LedgerMetrics;
use api_gateway::ledger::projector::Projector;
use api_gateway::ledger::{Ledger, Row};
use events::progress::Status;
use events::{Event, Timestamp};
use saga::bus::Health;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::databases::OnSqlite;
use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running};
use crate::stories::{command, completed, whole};

/// Longer than a lease: a replica may have to be waited out.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn projector(owner: &str, bus: &Arc<FakeBus>, ledger: &Arc<dyn Ledger>) -> Projector {
    Projector {
        bus: bus.clone(),
        ledger: ledger.clone(),
        owner: owner.to_owned(),
        keep_ended: None,
        metrics: LedgerMetrics::new(),
        health: watch::Sender::new(Health::Up),
    }
}

/// Asks until the saga of these events has ended in the ledger.
pub(crate) async fn ended(ledger: &Arc<dyn Ledger>, story: &[Event]) -> Row {
    let ask = async {
        loop {
            let row = ledger.find(story[0].saga_id).await.unwrap();
            match row.filter(|row| row.status().is_final()) {
                Some(row) => return row,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENCE, ask).await.expect("the saga is projected")
}

#[tokio::test]
async fn a_projector_goes_on_where_the_one_before_stopped() {
    let (database, bus) = (OnSqlite::new().await, FakeBus::without_workers());
    let ledger = database.ledger();
    let (first, second) = (whole(), whole());
    for (owner, story) in [("one", &first), ("two", &second)] {
        let stop = CancellationToken::new();
        bus.record(story);
        let run = projector(owner, &bus, &ledger).run(stop.clone());
        let watch = async {
            let row = ended(&ledger, story).await;
            assert_eq!(row.status(), Status::Completed);
            assert_eq!(row.timeline.entries().len(), 3);
            stop.cancel();
        };
        tokio::join!(run, watch);
    }
    assert_eq!(*bus.read_from.lock().unwrap(), [None, Some(2)]);
}

#[tokio::test]
async fn entries_that_are_no_event_are_skipped_and_stop_nothing() {
    let (database, bus) = (OnSqlite::new().await, FakeBus::without_workers());
    let (ledger, stop) = (database.ledger(), CancellationToken::new());
    let story = whole();
    bus.record_raw(["", "{}", "[1]"].map(str::to_owned));
    bus.record(&story);
    let run = projector("one", &bus, &ledger).run(stop.clone());
    let watch = async {
        ended(&ledger, &story).await;
        stop.cancel();
    };
    tokio::join!(run, watch);
}

#[tokio::test]
async fn messages_of_a_newer_build_are_told_from_garbage() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let metrics = async || gateway.get("/metrics").await.text().await.unwrap();
    let lost = |metrics: &str| {
        let line = metrics
            .lines()
            .find(|line| line.starts_with("ledger_unsupported_events_total "));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    let before: u64 = lost(&metrics().await);
    let newer = |event: &Event, to: &str| {
        let json = String::from_utf8(event.to_json()).unwrap();
        json.replace("PurchaseAndRegister.v1", to)
    };
    let story = whole();
    gateway
        .bus
        .record_raw(["PurchaseAndRegister.v2", "CouponBooked.v1"].map(|to| newer(&story[0], to)));
    gateway.bus.record_raw(["garbage".to_owned()]);
    gateway.bus.record(&story);
    gateway.projected(5).await;
    // All tests of this process count in the same place, but only this one has such messages.
    assert_eq!(lost(&metrics().await), before + 2);
}

#[tokio::test]
async fn of_two_replicas_one_projects_and_the_other_takes_over() {
    let (database, bus) = (OnSqlite::new().await, FakeBus::without_workers());
    let ledger = database.ledger();
    let (before, after) = (whole(), whole());
    let (stop_one, stop_two) = (CancellationToken::new(), CancellationToken::new());
    let one = projector("one", &bus, &ledger).run(stop_one.clone());
    let two = projector("two", &bus, &ledger).run(stop_two.clone());
    let watch = async {
        bus.record(&before);
        ended(&ledger, &before).await;
        assert_eq!(bus.read_from.lock().unwrap().len(), 1, "one reads");
        stop_one.cancel();
        bus.record(&after);
        let row = ended(&ledger, &after).await;
        assert_eq!(row.timeline.entries().len(), 3);
        stop_two.cancel();
    };
    tokio::join!(one, two, watch);
    assert_eq!(*bus.read_from.lock().unwrap(), [None, Some(2)]);
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_and_nothing_is_lost() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    gateway.ledger.away.send_replace(true);
    let story = whole();
    gateway.bus.record(&story);
    // The routes do not depend on it.
    assert_eq!(gateway.post(GOOD).await.status(), reqwest::StatusCode::OK);
    gateway.ledger.away.send_replace(false);
    timeout(PATIENCE, gateway.projected(2)).await.unwrap();
    let row = gateway.ledger.find(story[0].saga_id).await.unwrap();
    assert_eq!(row.unwrap().status(), Status::Completed);
}

#[tokio::test]
async fn under_load_everything_arrives_once() {
    let (database, bus) = (OnSqlite::new().await, FakeBus::without_workers());
    let (ledger, stop) = (database.ledger(), CancellationToken::new());
    let stories: Vec<_> = (0..2_000).map(|_| whole()).collect();
    let run = projector("one", &bus, &ledger).run(stop.clone());
    let feed = async {
        for some in stories.chunks(50) {
            bus.record(some.iter().flatten());
            tokio::task::yield_now().await;
        }
        for story in &stories {
            assert_eq!(ended(&ledger, story).await.timeline.entries().len(), 3);
        }
        stop.cancel();
    };
    tokio::join!(run, feed);
}

#[tokio::test]
async fn a_command_that_nobody_answers_is_published_again_once_and_no_other() {
    let (database, bus) = (OnSqlite::new().await, FakeBus::without_workers());
    let (ledger, stop) = (database.ledger(), CancellationToken::new());
    let (mut lost, mut later, done) = (command(), command(), whole());
    lost.time = Timestamp::now() - Duration::from_secs(40);
    later.time = Timestamp::now() - Duration::from_secs(20);
    bus.record([&lost]);
    bus.record(&done);
    let run = projector("one", &bus, &ledger).run(stop.clone());
    let watch = async {
        let mut published = Vec::new();
        for command in [&lost, &later] {
            bus.record([command]);
            published.push(command.clone());
            while *bus.published.lock().unwrap() != published {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        stop.cancel();
    };
    timeout(PATIENCE, async { tokio::join!(run, watch) })
        .await
        .expect("both are published again");
}
