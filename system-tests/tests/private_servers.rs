//! The ground that the outage tests stand on: our own servers come back after a kill with what was
//! committed, and nothing that we start outlives us.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use sqlx::{Connection, Executor, PgConnection};
use system_tests::private_postgres::PrivatePostgres;
use system_tests::private_rabbitmq::PrivateRabbitMq;

#[test]
fn a_killed_postgresql_comes_back_on_its_port_with_what_was_committed() {
    let mut server = PrivatePostgres::start_new();
    let url = server.url();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sql = |sql: &'static str| {
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&url).await?;
            connection.execute(sql).await
        })
    };
    sql("CREATE TABLE kept (id int)").unwrap();
    server.kill();
    assert!(sql("SELECT 1").is_err(), "it is down");
    server.start();
    sql("INSERT INTO kept VALUES (1)").unwrap();
    server.stop();
    server.start();
    assert_eq!(sql("DELETE FROM kept").unwrap().rows_affected(), 1);
}

#[test]
fn a_killed_rabbitmq_comes_back_on_its_port() {
    let mut broker = PrivateRabbitMq::start_new();
    assert_eq!(broker.queues(), []);
    broker.kill();
    assert!(
        TcpStream::connect(("127.0.0.1", broker.port())).is_err(),
        "it is down"
    );
    broker.start();
    broker.stop();
    assert!(
        TcpStream::connect(("127.0.0.1", broker.port())).is_err(),
        "it is down"
    );
}

#[test]
fn a_server_does_not_outlive_a_killed_holder() {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_private-servers"))
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = holder.stdout.take().unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).unwrap();
    let port: u16 = line
        .trim()
        .rsplit([':', '/'])
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let folder = std::env::temp_dir();
    let prefix = format!("ticket-saga-{}-", holder.id());
    let temporary = || {
        let entries = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        entries
            .filter(|name| name.to_string_lossy().starts_with(&prefix))
            .count()
    };
    assert_eq!(temporary(), 1);

    holder.kill().unwrap();
    holder.wait().unwrap();

    system_tests::process::wait_until("gone", std::time::Duration::from_secs(10), || {
        temporary() == 0 && TcpStream::connect(("127.0.0.1", port)).is_err()
    });
}
