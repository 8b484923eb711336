//! What a real run wrote into the journal, a worker killed in the middle of it, is replayed in every
//! order with duplicates, and comes out as it was recorded.
//!
//! `REPLAY_SAGAS=20000` is the full size.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use system_tests::audit::settle;
use system_tests::deployment::{Servers, Services};
use system_tests::leash::temporary_folder;
use system_tests::load::{Answer, Load, Plan};
use system_tests::seed::seed;
use system_tests::service::built;

/// Enough that the kill hits some hundred of them.
const SAGAS: u64 = 2_000;
/// Far longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);
/// While the worker is away, sagas gather that wait for it.
const AWAY: Duration = Duration::from_millis(500);

fn sagas() -> u64 {
    std::env::var("REPLAY_SAGAS").map_or(SAGAS, |text| text.parse().unwrap())
}

/// Runs so many sagas, a fifth of them refused, and kills a worker in the middle. Returns how many
/// were started.
fn run(servers: &Servers, sagas: u64) -> u64 {
    let mut services = Services::on(servers, 1);
    services.start_and_wait();
    let plan = Plan {
        callers: 32,
        calls: sagas,
        rest: Duration::ZERO,
        repeats_per_cent: 20,
        seed: seed(),
    };
    let load = Load::start(services.gateway.address(), plan);
    load.wait_for_more(sagas / 2, LIMIT);
    services.regist_workers[0].kill_dash_9();
    std::thread::sleep(AWAY);
    services.regist_workers[0].start_and_wait();
    let calls = load.finish_all();
    let totals = settle(&servers.databases(), &calls, LIMIT);
    println!("{} calls, {totals:?}", calls.len());
    let refused = |answer: &Answer| matches!(answer, Answer::Refused { .. });
    let refused = calls.iter().filter(|call| refused(&call.answer)).count();
    assert!(refused > calls.len() / 10, "{refused} refused");
    (totals.completed + totals.compensated + totals.rejected) as u64
}

fn replay(arguments: &[&str]) -> Value {
    let mut command = Command::new(built("event-replay"));
    let output = command.env_clear().args(arguments).arg("--json").output();
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {told}\n{found}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_real_run_with_a_killed_worker_is_replayed_as_recorded_in_every_order() {
    let servers = Servers::start_new();
    let sagas = run(&servers, sagas());
    let file = temporary_folder("recording").join("run.jsonl");
    let file = file.to_str().unwrap();
    let recorded = replay(&["record", "--amqp-url", &servers.broker.url(), file]);
    println!("recorded: {recorded}");
    assert_eq!(
        (&recorded["sagas"], &recorded["unreadable"]),
        (&sagas.into(), &0.into())
    );
    for order in ["recorded", "reversed", "shuffled"] {
        let verified = replay(&["verify", file, "--order", order, "--duplicate", "0.3"]);
        let (found, report) = (&verified[0], &verified[0]["report"]);
        println!("{order}: {report}");
        assert!(
            found["isWhole"] == true && found["isAsRecorded"] == true,
            "{found}"
        );
        assert_eq!(report["replayed"], sagas, "none is passed over");
        assert_eq!(
            (&report["undetermined"], &report["withoutEnd"]),
            (&0.into(), &0.into())
        );
        assert!(
            report["duplicates"].as_u64().unwrap() > sagas / 2,
            "{report}"
        );
    }
}
