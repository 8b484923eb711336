//! A database that says nothing: while it is waited for, while it is in use, and for ever.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;

/// Far more than a connection that is given up keeps its place.
const PATIENCE: Duration = CONNECT_LIMIT.saturating_mul(5);

/// A server that takes connections and never says a word.
async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (
        listener,
        format!("postgres://postgres@127.0.0.1:{port}/postgres"),
    )
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_a_server_that_does_not_answer() {
    let (_listener, url) = silent().await;
    let (database, tasks) = (Database::open(&url, "test").unwrap(), Tasks::new());
    tasks.stop();
    let asked = Instant::now();
    let prepared = database.prepare("test", &[], &tasks).await;
    assert!(matches!(prepared, Err(DatabaseError::Stopped)));
    assert!(asked.elapsed() < CONNECT_LIMIT, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_server_that_went_silent_is_down() {
    let url = std::env::var("TEST_DATABASE_URL").expect("run ./test, or set TEST_DATABASE_URL");
    let server = PgConnectOptions::from_str(&url).unwrap();
    let address = (server.get_host().to_owned(), server.get_port());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut line = std::pin::pin!(async {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(address).await.unwrap();
        copy_bidirectional(&mut client, &mut server).await.unwrap()
    });
    let pool = PgPoolOptions::new().test_before_acquire(false);
    let through_the_line = server.host("127.0.0.1").port(port);
    let database = Database::Postgres(pool.connect_lazy_with(through_the_line));
    tokio::select! {
        _ = &mut line => unreachable!("it passes on what is said"),
        health = database.ping("test") => assert!(health.is_up(), "{health}"),
    }
    // Nobody passes anything on any more.
    let asked = timeout(CONNECT_LIMIT * 2, database.ping("test"));
    assert!(!asked.await.expect("an answer").is_up());
}

/// Passes on what is said over each connection until it is lost without a word.
async fn line(listener: TcpListener, server: (String, u16), losses: watch::Receiver<u32>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let (server, mut losses) = (server.clone(), losses.clone());
        losses.mark_unchanged();
        connections.spawn(async move {
            let mut server = TcpStream::connect(server).await.unwrap();
            tokio::select! {
                _ = losses.changed() => std::future::pending::<()>().await,
                _ = copy_bidirectional(&mut client, &mut server) => {}
            }
        });
    }
}

#[tokio::test]
async fn connections_that_are_lost_without_a_word_do_not_keep_their_places_in_the_pool() {
    let url = std::env::var("TEST_DATABASE_URL").expect("run ./test, or set TEST_DATABASE_URL");
    let server = PgConnectOptions::from_str(&url).unwrap();
    let address = (server.get_host().to_owned(), server.get_port());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = server.host("127.0.0.1").port(port).to_url_lossy();
    let database = Database::open(url.as_str(), "test").unwrap();
    let Database::Postgres(pool) = &database else {
        unreachable!("the URL is of PostgreSQL");
    };
    let losses = watch::Sender::new(0);
    let lost = async {
        // As many at once as there are places.
        let sleeps = (0..POSTGRES_CONNECTIONS).map(|_| sqlx::query("SELECT pg_sleep(1)"));
        let open = sleeps.map(|sleep| sleep.execute(pool));
        futures_util::future::try_join_all(open).await.unwrap();
        assert_eq!(pool.size(), POSTGRES_CONNECTIONS);
        losses.send_modify(|losses| *losses += 1);
        let asked = (0..POSTGRES_CONNECTIONS).map(|_| database.ping("test"));
        let healths = futures_util::future::join_all(asked).await;
        assert!(healths.iter().all(|health| !health.is_up()), "{healths:?}");
        let recovered = async { while !database.ping("test").await.is_up() {} };
        timeout(PATIENCE, recovered).await.unwrap();
    };
    tokio::select! {
        () = line(listener, address, losses.subscribe()) => unreachable!("it goes on"),
        () = lost => {}
    }
}

#[test]
fn a_connection_lost_during_a_migration_is_waited_for() {
    let lost = || sqlx::Error::Io(io::ErrorKind::ConnectionReset.into());
    use sqlx::migrate::MigrateError as E;
    assert!(waits_for(E::Execute(lost())).is_ok());
    assert!(waits_for(E::ExecuteMigration(lost(), 1)).is_ok());
    assert!(waits_for(E::VersionMismatch(1)).is_err());
    assert!(waits_for(E::ExecuteMigration(sqlx::Error::RowNotFound, 1)).is_err());
}
