//! How a process ends: the exit code tells a stop from a failure. The process is this test binary,
//! started by a test.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, Command};
use saga::process::{RuntimeFlags, run};
use saga::{SHUTDOWN_LIMIT, Tasks};

/// Says which process this test binary is, if a test started it.
const ROLE: &str = "PROCESS_TEST_ROLE";

/// Runs the process that was asked for; only the test that asks may call it.
fn play(role: &str) -> ! {
    let command = RuntimeFlags::augment_args(Command::new("process-test")).ignore_errors(true);
    let role = role.to_owned();
    let code = run("process-test", command, async |_, tasks: Tasks| {
        match role.as_str() {
            "hears no stop" => std::future::pending::<()>().await,
            "hears a stop" => tasks.stop_token().cancelled().await,
            _ => {
                tasks.spawn("broken", async { panic!("on purpose") });
                tasks.stop_token().cancelled().await;
            }
        }
        Err("stopped while it started".into())
    });
    std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
}

/// A process in this role, once it can be signalled; killed when dropped.
struct Process(Child);

impl Process {
    fn start(role: &str, test: &str) -> Self {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", test, "--nocapture"])
            .env(ROLE, role);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Self(command.spawn().unwrap());
        std::thread::sleep(Duration::from_secs(1));
        process
    }

    fn terminate(&self) {
        let mut kill = std::process::Command::new("kill");
        let killed = kill.args(["-TERM", &self.0.id().to_string()]).status();
        assert!(killed.unwrap().success());
    }

    /// The exit code, once it has ended.
    fn code(mut self) -> Option<i32> {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(asked.elapsed() < SHUTDOWN_LIMIT * 2, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_crash_during_the_start_fails_the_process() {
    if let Ok(role) = std::env::var(ROLE) {
        play(&role);
    }
    let process = Process::start("crashes", "a_crash_during_the_start_fails_the_process");
    assert_eq!(process.code(), Some(1));
}

#[test]
fn a_stop_during_the_start_is_no_failure() {
    if let Ok(role) = std::env::var(ROLE) {
        play(&role);
    }
    let process = Process::start("hears a stop", "a_stop_during_the_start_is_no_failure");
    process.terminate();
    assert_eq!(process.code(), Some(0));
}

#[test]
fn a_start_that_hears_no_stop_is_ended_after_the_limit() {
    if let Ok(role) = std::env::var(ROLE) {
        play(&role);
    }
    let test = "a_start_that_hears_no_stop_is_ended_after_the_limit";
    let process = Process::start("hears no stop", test);
    process.terminate();
    let asked = Instant::now();
    assert_eq!(process.code(), Some(1));
    assert!(asked.elapsed() >= SHUTDOWN_LIMIT, "{:?}", asked.elapsed());
}
