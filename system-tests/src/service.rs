//! A service binary as a process: started with flags or environment, killed, started again.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use crate::http;
use crate::leash;
use crate::ports::free_port;
use crate::process::{Process, profile_folder, run};

/// Longer than a back-off to the longest pause plus a recovery on a busy machine.
pub const READY_LIMIT: Duration = Duration::from_secs(60);
/// Longer than the service's own limit for a stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How a service shows that it is ready.
#[derive(Debug, Clone)]
enum Ready {
    /// `GET /readyz` there answers 200.
    Http(SocketAddr),
    /// The file exists.
    File(PathBuf),
}

/// One replica of one service. Dropping it kills it.
#[derive(Debug)]
pub struct Service {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    ready: Ready,
    process: Option<Process>,
}

impl Service {
    /// A service that listens for HTTP, on a port that it keeps over restarts.
    pub fn with_http(name: &str, binary: &str, arguments: &[&str]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let listen = ["--listen", &address.to_string()];
        Self::new(
            name,
            binary,
            &[arguments, &listen].concat(),
            Ready::Http(address),
        )
    }

    /// A service that shows its readiness by a file.
    pub fn with_ready_file(name: &str, binary: &str, arguments: &[&str]) -> Self {
        let file = leash::temporary_folder(name).join("ready");
        let path = file.to_str().expect("a UTF-8 path").to_owned();
        let flags = ["--ready-file", &path];
        Self::new(
            name,
            binary,
            &[arguments, &flags].concat(),
            Ready::File(file),
        )
    }

    fn new(name: &str, binary: &str, arguments: &[&str], ready: Ready) -> Self {
        Self {
            name: name.to_owned(),
            program: built(binary),
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            ready,
            process: None,
        }
    }

    /// Started with these flags too.
    pub fn flags(&mut self, flags: &[&str]) {
        let flags = flags.iter().map(|&flag| flag.to_owned());
        self.arguments.extend(flags);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match &self.ready {
            Ready::Http(address) => *address,
            Ready::File(_) => panic!("{} does not listen", self.name),
        }
    }

    /// Starts the process, without waiting for anything.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        if let Ready::File(file) = &self.ready {
            // A killed process could not remove its own.
            drop(fs::remove_file(file));
        }
        let mut command = Command::new(&self.program);
        // Only the flags count: a variable of the developer's shell must not change a test.
        command.env_clear().env("RUST_BACKTRACE", "1");
        self.process = Some(Process::spawn(&self.name, command.args(&self.arguments)));
    }

    pub fn start_and_wait(&mut self) {
        self.start();
        self.wait_until_ready();
    }

    pub fn wait_until_ready(&mut self) {
        let ready = self.ready.clone();
        self.running()
            .wait_until("ready", READY_LIMIT, |_| ready.is_shown());
    }

    /// Waits until it shows that it is not ready, as it does when a server is away.
    pub fn wait_until_not_ready(&mut self) {
        let ready = self.ready.clone();
        self.running()
            .wait_until("seeing the outage", READY_LIMIT, |_| !ready.is_shown());
    }

    /// Waits until it has logged this text in this run of the tests.
    pub fn wait_until_it_says(&mut self, text: &str) {
        let what = format!("saying {text:?}");
        self.running()
            .wait_until(&what, READY_LIMIT, |process| process.log().contains(text));
    }

    pub fn is_ready(&self) -> bool {
        self.ready.is_shown()
    }

    /// Whether it was started, and not killed or stopped since.
    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// The exit status, if it ended by itself.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(Process::exited)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kill_dash_9(&mut self) {
        self.take().kill_dash_9();
    }

    /// Asks it to stop, as a container runtime does, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        let process = self.take();
        process.signal("TERM");
        process.wait_for_exit(STOP_LIMIT)
    }

    /// Everything that it logged in this run of the tests, restarts included.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    fn running(&mut self) -> &mut Process {
        let name = &self.name;
        let running = self.process.as_mut();
        running.unwrap_or_else(|| panic!("{name} does not run"))
    }

    fn take(&mut self) -> Process {
        let name = &self.name;
        let running = self.process.take();
        running.unwrap_or_else(|| panic!("{name} does not run"))
    }
}

impl Ready {
    fn is_shown(&self) -> bool {
        match self {
            Self::Http(address) => {
                http::get(*address, "/readyz").is_ok_and(|answer| answer.status == 200)
            }
            Self::File(file) => file.exists(),
        }
    }
}

/// The binary as the sources are now: a test of an old build would prove nothing.
pub fn built(binary: &str) -> PathBuf {
    static BUILD: OnceLock<()> = OnceLock::new();
    BUILD.get_or_init(|| {
        // Set by `cargo test` to the cargo that runs it.
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        // The whole workspace, as `cargo test --workspace` builds it: with fewer packages cargo
        // would choose other features and compile everything again.
        cargo.args(["build", "--workspace", "--bins", "--quiet"]);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile_folder().ends_with("release") {
            cargo.arg("--release");
        }
        run(&mut cargo);
    });
    let program = profile_folder().join(binary);
    assert!(program.exists(), "cargo built no {}", program.display());
    program
}
