//! An empty database of its own for each test, on the PostgreSQL server that `TEST_DATABASE_URL`
//! names or as a SQLite file.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

/// A database that nobody else uses; [`FreshDatabase::remove`] it at the end.
#[derive(Debug)]
pub enum FreshDatabase {
    Postgres {
        server: String,
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
        let name = format!("ticket_saga_test_{}", uuid::Uuid::now_v7().simple());
        run(&server, format!("CREATE DATABASE {name}")).await;
        let (start, _) = server
            .rsplit_once('/')
            .expect("a URL that ends with a database name");
        let url = format!("{start}/{name}");
        Self::Postgres { server, name, url }
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

    pub async fn remove(self) {
        if let Self::Postgres { server, name, .. } = self {
            run(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

/// The names are made here, so they are safe to put into a statement.
async fn run(server: &str, statement: String) {
    let mut connection = PgConnection::connect(server)
        .await
        .expect("the PostgreSQL test server");
    let done = sqlx::query(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await;
    done.expect("the test server lets us create and drop databases");
}
