//! An empty database of its own for each test, on the PostgreSQL server that `TEST_DATABASE_URL`
//! names or as a SQLite file.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

/// A database that nobody else uses, gone when this is dropped, also after a failed test.
#[derive(Debug)]
pub enum FreshDatabase {
    Postgres {
        server: Box<PgConnectOptions>,
        name: String,
        url: String,
    },
    Sqlite {
        url: String,
        _folder: TempDir,
    },
}

impl FreshDatabase {
    /// Creates a database on the test server.
    pub async fn postgres() -> Self {
        let server =
            std::env::var("TEST_DATABASE_URL").expect("run ./test, or set TEST_DATABASE_URL");
        let server = PgConnectOptions::from_str(&server).expect("the URL of a PostgreSQL server");
        let name = format!("ticket_saga_test_{}", uuid::Uuid::now_v7().simple());
        run(&server, &format!("CREATE DATABASE {name}")).await;
        // With every other parameter of the server's URL.
        let url = server.clone().database(&name).to_url_lossy().to_string();
        Self::Postgres {
            server: Box::new(server),
            name,
            url,
        }
    }

    /// Reserves a file in a folder of its own.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let url = format!("sqlite://{}/test.db", folder.path().display());
        Self::Sqlite {
            url,
            _folder: folder,
        }
    }

    pub fn url(&self) -> &str {
        match self {
            Self::Postgres { url, .. } | Self::Sqlite { url, .. } => url,
        }
    }
}

impl Drop for FreshDatabase {
    /// On a thread of its own, because dropping cannot wait.
    fn drop(&mut self) {
        let Self::Postgres { server, name, .. } = self else {
            return;
        };
        let (server, drop) = (server.clone(), format!("DROP DATABASE {name} WITH (FORCE)"));
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(run(&server, &drop));
        });
        let dropped = dropping.join().is_ok();
        // A second panic would hide why the test failed.
        assert!(
            dropped || std::thread::panicking(),
            "the database of the test is not dropped"
        );
    }
}

/// The names are made here, so they are safe to put into a statement.
async fn run(server: &PgConnectOptions, statement: &str) {
    let connection = server.connect().await;
    let mut connection = connection.expect("the PostgreSQL test server");
    let done = sqlx::query(statement).execute(&mut connection).await;
    done.expect("the test server lets us create and drop databases");
    connection.close().await.expect("a polite end");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_gone_after_a_test_that_failed() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let database = runtime.block_on(FreshDatabase::postgres());
        let url = database.url().to_owned();
        let connect = || {
            let options = PgConnectOptions::from_str(&url).expect("a URL");
            runtime.block_on(options.connect())
        };
        drop(connect().expect("it is there"));
        let failed = std::thread::spawn(move || {
            let _database = database;
            panic!("on purpose");
        });
        assert!(failed.join().is_err());
        assert!(connect().is_err(), "it is still there");
    }
}
