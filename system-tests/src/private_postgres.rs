//! A PostgreSQL server of our own, with nobody else's data on it, that a test may stop and kill.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::leash;
use crate::ports::free_port;
use crate::process::{Process, run};

/// A start takes under a second on an idle machine; two cores that also compile take longer.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// One server on a free port, its data in a temporary folder. Dropping it kills it.
#[derive(Debug)]
pub struct PrivatePostgres {
    programs: PathBuf,
    folder: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    process: Option<Process>,
}

impl PrivatePostgres {
    /// Creates the data folder and starts the server. The programs come from `TEST_POSTGRES_BIN`.
    pub fn start_new() -> Self {
        let mut server = Self::create();
        server.start();
        server
    }

    /// Creates the data folder; the server is down until [`Self::start`].
    pub fn create() -> Self {
        let programs = std::env::var_os("TEST_POSTGRES_BIN")
            .map(PathBuf::from)
            .expect("run ./test, or set TEST_POSTGRES_BIN to the folder of initdb and postgres");
        let (folder, user) = (
            leash::temporary_folder("postgres"),
            leash::unprivileged_user(),
        );
        leash::give(&folder, user);
        let server = Self {
            programs,
            folder,
            user,
            port: free_port(),
            process: None,
        };
        let mut initdb = server.program("initdb");
        // The files need no sync: the tests kill processes, not the machine.
        initdb.args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
            "-D",
        ]);
        run(initdb.arg(server.data()));
        server
    }

    /// The superuser's URL.
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// The URL of one database on this server.
    pub fn database_url(&self, database: &str) -> String {
        self.database_url_at(self.port, database)
    }

    /// The same over a line that ends at this port.
    pub fn database_url_at(&self, port: u16, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{database}")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it on the same port and data as before, and waits until it takes connections.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "PostgreSQL runs already");
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data());
        command.args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", ""]);
        // Several pools, several replicas and the audit share it.
        command.args(["-c", "max_connections=200"]);
        // A commit still outlives a kill of every process; only a crash of the machine loses it.
        command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        let mut process = Process::spawn(&format!("postgres-{}", self.port), &mut command);
        process.wait_until("ready", START_LIMIT, |_| self.takes_connections());
        self.process = Some(process);
    }

    /// Stops it as an operator would: clients are disconnected, data is written.
    pub fn stop(&mut self) {
        let process = self.process.take().expect("PostgreSQL runs");
        process.signal("INT");
        process.wait_for_exit(STOP_LIMIT);
    }

    /// `kill -9` of the server and every process that it started.
    pub fn kill(&mut self) {
        self.process.take().expect("PostgreSQL runs").kill_dash_9();
    }

    fn takes_connections(&self) -> bool {
        let mut probe = self.program("pg_isready");
        probe.args([
            "-q",
            "-t",
            "1",
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
        ]);
        probe
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        // The working folder of the tests may be closed to another user.
        command.current_dir(&self.folder);
        if let Some((uid, gid)) = self.user {
            std::os::unix::process::CommandExt::uid(&mut command, uid);
            std::os::unix::process::CommandExt::gid(&mut command, gid);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        drop(self.process.take());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
