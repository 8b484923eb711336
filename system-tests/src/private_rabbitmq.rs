//! A RabbitMQ broker of our own, with its own epmd, that a test may stop and kill.
//!
//! epmd, Erlang's name server, is one per machine by default and outlives the broker that started
//! it. A private one, our direct child, leaves nothing behind and cannot collide with another.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::leash;
use crate::ports::free_port;
use crate::process::{Process, run};

/// A start takes 5 to 8 seconds on an idle machine; two cores that also compile take longer.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How often a quorum queue tells how many messages it holds; five seconds if nobody says otherwise.
pub const TICK: Duration = Duration::from_millis(500);
/// How long the broker may take to answer a handshake before it counts as not there yet.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(2);

/// One broker on a free port, its data in a temporary folder. Dropping it kills it.
#[derive(Debug)]
pub struct PrivateRabbitMq {
    server: PathBuf,
    folder: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    distribution_port: u16,
    epmd_port: u16,
    process: Option<Process>,
    epmd: Process,
}

/// A queue as the broker lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    pub messages: u64,
}

impl PrivateRabbitMq {
    /// Creates the data folder and starts the broker. The program comes from
    /// `TEST_RABBITMQ_SERVER`.
    pub fn start_new() -> Self {
        let mut broker = Self::create();
        broker.start();
        broker
    }

    /// Creates the data folder; the broker is down until [`Self::start`].
    pub fn create() -> Self {
        let server = std::env::var_os("TEST_RABBITMQ_SERVER")
            .map(PathBuf::from)
            .expect("run ./test, or set TEST_RABBITMQ_SERVER to the path of rabbitmq-server");
        let folder = leash::temporary_folder("rabbitmq");
        let user = leash::unprivileged_user();
        let (port, epmd_port) = (free_port(), free_port());
        fs::write(folder.join("plugins"), "[].\n").expect("the list of plugins");
        fs::write(folder.join("rabbitmq.conf"), configuration(port)).expect("the configuration");
        leash::give(&folder, user);
        let mut epmd = Command::new(beside(&server, "epmd"));
        epmd.args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()]);
        become_user(&mut epmd, user);
        Self {
            server,
            folder,
            user,
            port,
            distribution_port: free_port(),
            epmd_port,
            process: None,
            epmd: Process::spawn(&format!("epmd-{epmd_port}"), &mut epmd),
        }
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// Its URL over a line that ends at this port.
    pub fn url_at(&self, port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it on the same port and data as before, and waits until it takes connections.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "RabbitMQ runs already");
        let epmd_port = self.epmd_port;
        self.epmd.wait_until("ready", HANDSHAKE_LIMIT, |_| {
            TcpStream::connect((Ipv4Addr::LOCALHOST, epmd_port)).is_ok()
        });
        let mut command = self.program(&self.server);
        // Makes the script become the Erlang VM, so that our child is the broker itself.
        command.env("RUNNING_UNDER_SYSTEMD", "true");
        let mut process = Process::spawn(&format!("rabbitmq-{}", self.port), &mut command);
        process.wait_until("ready", START_LIMIT, |_| answers_amqp(self.port));
        self.process = Some(process);
    }

    /// Stops it as an operator would.
    pub fn stop(&mut self) {
        let process = self.process.take().expect("RabbitMQ runs");
        process.signal("TERM");
        process.wait_for_exit(STOP_LIMIT);
    }

    /// `kill -9` of the broker.
    pub fn kill(&mut self) {
        self.process.take().expect("RabbitMQ runs").kill_dash_9();
    }

    /// Every queue with the number of messages that it held, delivered ones included, at its last
    /// [`TICK`].
    pub fn queues(&self) -> Vec<Queue> {
        let listed = self.control(&[
            "-q",
            "list_queues",
            "--no-table-headers",
            "name",
            "messages",
        ]);
        let queue = |line: &str| {
            let (name, messages) = line.split_once('\t')?;
            let (name, messages) = (name.to_owned(), messages.trim().parse().ok()?);
            Some(Queue { name, messages })
        };
        listed.lines().filter_map(queue).collect()
    }

    /// Runs `rabbitmqctl` on this broker.
    pub fn control(&self, arguments: &[&str]) -> String {
        let mut command = self.program(&self.server.with_file_name("rabbitmqctl"));
        run(command.arg("-n").arg(self.node()).args(arguments))
    }

    /// Deletes the binding of a message to its queue, as somebody does by mistake in the Management UI.
    pub fn unbind(&self, exchange: &str, message: &str, queue: &str) {
        let deleting = format!(
            "rabbit_binding:remove({{binding, {{resource, <<\"/\">>, exchange, <<\"{exchange}.router\">>}}, \
             <<\"{message}.#\">>, {{resource, <<\"/\">>, queue, <<\"{queue}\">>}}, []}}, <<\"test\">>)."
        );
        let answer = self.control(&["eval", &deleting]);
        assert!(answer.starts_with("ok"), "{answer}");
    }

    fn node(&self) -> String {
        format!("saga-{}@localhost", self.port)
    }

    /// A program of the broker's, which must know nothing of a broker that the machine may run.
    fn program(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        let inside = |name: &str| self.folder.join(name);
        command
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("RABBITMQ_NODENAME", self.node())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", inside("none"))
            .env("RABBITMQ_CONFIG_FILE", inside("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", inside("none"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", inside("generated"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", inside("plugins"))
            .env("RABBITMQ_MNESIA_BASE", inside("data"))
            .env("RABBITMQ_PID_FILE", inside("pid"))
            .env("RABBITMQ_LOG_BASE", inside("log"))
            .env("RABBITMQ_LOGS", "-")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                format!(
                    "-kernel inet_dist_use_interface {{127,0,0,1}} -rabbit quorum_tick_interval {}",
                    TICK.as_millis()
                ),
            );
        become_user(&mut command, self.user);
        command
    }
}

impl Drop for PrivateRabbitMq {
    fn drop(&mut self) {
        drop(self.process.take());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The small disk limit keeps a nearly full machine from blocking every publisher.
fn configuration(port: u16) -> String {
    format!("listeners.tcp.1 = 127.0.0.1:{port}\ndisk_free_limit.absolute = 10MB\n")
}

/// A program of the broker's own Erlang, or the one in the PATH, which is all that distributions have.
fn beside(server: &Path, program: &str) -> PathBuf {
    let own = server.with_file_name(program);
    if own.exists() { own } else { program.into() }
}

fn become_user(command: &mut Command, user: Option<(u32, u32)>) {
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
}

/// Whether a broker on this port starts the AMQP handshake.
fn answers_amqp(port: u16) -> bool {
    let handshake = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(HANDSHAKE_LIMIT))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        let mut first = [0; 1];
        stream.read_exact(&mut first)?;
        Ok::<_, std::io::Error>(first)
    };
    // 1 is a method frame: Connection.Start.
    handshake().is_ok_and(|first| first == [1])
}
