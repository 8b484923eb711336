//! One external process: its log in a file that outlives the test, its end never forgotten.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::leash;

/// Between two looks at something that announces itself by no event we could wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A killed process ends as soon as it leaves the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How much of a log a failure shows.
const LOG_TAIL: usize = 40;

/// A running process, in a process group of its own. Dropping it kills the whole group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: bool,
}

impl Process {
    /// Starts the command, with its output appended to [`log_file`] of this name.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let log = log_file(name);
        let output = append(&log);
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        leash::hold(child.id());
        Self {
            name: name.to_owned(),
            child,
            log,
            ended: false,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that processes of this name wrote in this run.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Asks the process itself, not its group: `TERM`, `INT`.
    pub fn signal(&self, signal: &str) {
        kill(signal, &self.id().to_string());
    }

    /// `kill -9` of the process and what it started.
    pub fn kill_dash_9(mut self) {
        self.end();
    }

    /// The exit status, if the process is gone.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Waits for the end of a process that was asked to stop.
    pub fn wait_for_exit(mut self, limit: Duration) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(
                since.elapsed() < limit,
                "{} did not stop within {limit:?}{}",
                self.name,
                self.tail()
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until `reached`, and panics with the end of the log when the process ends before.
    pub fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut reached: impl FnMut(&Self) -> bool,
    ) {
        let since = Instant::now();
        while !reached(self) {
            if let Some(status) = self.exited() {
                panic!(
                    "{} ended ({status}) before {what}{}",
                    self.name,
                    self.tail()
                );
            }
            assert!(
                since.elapsed() < limit,
                "{}: not {what} within {limit:?}{}",
                self.name,
                self.tail()
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The end of the log, for a panic message.
    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_TAIL)..];
        format!("\n--- {}\n{}", self.log.display(), shown.join("\n"))
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        // A child may have left the group, as those of PostgreSQL do.
        let children = children(self.id());
        // The group may outlive its leader, so it is killed even when the leader has ended.
        kill("KILL", &format!("-{}", self.id()));
        children.iter().for_each(|child| kill("KILL", child));
        self.child.wait().expect("it is our child");
        // Until they are gone they hold on to what the next process needs: ports, shared memory.
        wait_until("killed", KILL_LIMIT, || {
            !children.iter().any(|child| runs(child))
        });
        leash::release(self.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until `reached`; panics with `what` when that takes longer than `limit`.
pub fn wait_until(what: &str, limit: Duration, mut reached: impl FnMut() -> bool) {
    let since = Instant::now();
    while !reached() {
        assert!(since.elapsed() < limit, "not {what} within {limit:?}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Runs a helper program to its end.
pub fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `target/test-logs/<test binary>/<name>.log`: kept until the next run, so that a failed one can
/// be read.
fn log_file(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("the path of this test");
        let test = test.file_stem().expect("a file name");
        let folder = target_folder().join("test-logs").join(test);
        // What an earlier run left behind is not this run's log.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("a folder for logs");
        folder
    });
    folder.join(format!("{name}.log"))
}

/// The folder that cargo builds into.
pub fn target_folder() -> PathBuf {
    let profile = profile_folder();
    profile.parent().expect("cargo built this test").to_owned()
}

/// `target/debug` or `target/release`, found from where cargo put this test.
pub fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test.parent().expect("cargo built this test");
    match folder.ends_with("deps") {
        true => folder.parent().expect("cargo built this test").to_owned(),
        false => folder.to_owned(),
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()))
}

/// The ids of the processes that this one started and that still run.
fn children(parent: u32) -> Vec<String> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
}

/// Whether there is such a process, and it is more than an entry that nobody has asked about yet.
fn runs(id: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let state = state.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with('Z'))
}

/// The shell's own `kill`: the program of that name is missing on small machines.
fn kill(signal: &str, whom: &str) {
    let done = Command::new("sh")
        .args(["-c", r#"kill -s "$1" -- "$2""#, "kill", signal, whom])
        .stderr(Stdio::null())
        .status();
    // A process that is gone already is what was wanted.
    drop(done);
}
