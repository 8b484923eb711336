//! A stop in the middle of a saga: the process that runs all services finishes what its callers wait
//! for before it ends.

use std::time::Duration;

use sqlx::{Connection, Executor, SqliteConnection};
use system_tests::deployment::Embedded;
use system_tests::http;
use system_tests::process::wait_until;
use tokio::runtime::{Builder, Runtime};

const LIMIT: Duration = Duration::from_secs(30);
/// How long the saga is held up after the stop: every service has long heard of it, and it is well
/// below what callers may hold up a stop.
const HELD_UP: Duration = Duration::from_millis(500);

#[test]
fn a_request_in_flight_at_a_stop_is_answered_with_its_outcome() {
    let mut system = Embedded::create();
    system.service.start_and_wait();
    let address = system.service.address();
    let lock = Lock::take(&system.databases.ticket);
    let order = r#"{"userId": 1, "ticketId": 42}"#;
    let caller = std::thread::spawn(move || http::post(address, "/regist/trans", order));
    wait_until("started", LIMIT, || {
        let metrics = http::get(address, "/metrics").expect("an answer");
        metrics.body.contains("gateway_sagas_accepted_total 1")
    });
    let stopping = std::thread::spawn(move || system.service.stop());
    std::thread::sleep(HELD_UP);
    lock.release();
    let answer = caller.join().expect("no panic").expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(stopping.join().expect("no panic").success());
}

/// Nobody else writes to the database.
struct Lock {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Lock {
    fn take(url: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let lock = async {
            let mut connection = SqliteConnection::connect(url).await?;
            connection.execute("BEGIN IMMEDIATE").await?;
            Ok::<_, sqlx::Error>(connection)
        };
        let connection = runtime.block_on(lock).expect("the database");
        Self {
            runtime,
            connection,
        }
    }

    fn release(mut self) {
        let released = self.connection.execute("ROLLBACK");
        self.runtime.block_on(released).expect("the database");
    }
}
