//! The real system under load: gateway and workers as the processes that one deploys, the benchmark
//! playing a gateway instance on the same bus.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use saga::Tasks;
use saga::bus::{Bus, Health};
use saga::rabbitmq::{Packing, RabbitMqBus, RabbitMqConfig};
use tokio::process::Command;

use crate::databases::{self, Databases};
use crate::failure::BenchError;
use crate::finished;
use crate::invariants::{self, Told};
use crate::load::{Generator, SharedBook, callers};
use crate::meter::{Load, Measured};
use crate::process::{Process, program};
use crate::variant::Variant;

/// Longer than the bus flushes what is in hand.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Where one variant of the system lives: its databases, its namespace on the broker, and what is
/// known of its sagas. Survives restarts of its processes.
#[derive(Debug)]
pub(crate) struct Home {
    variant: Variant,
    amqp_url: String,
    namespace: String,
    databases: Databases,
    logs: PathBuf,
    book: SharedBook,
}

impl Home {
    pub(crate) async fn create(
        variant: Variant,
        amqp_url: &str,
        database_url: &str,
        names: &Names,
    ) -> Result<Self, BenchError> {
        Ok(Self {
            variant,
            amqp_url: amqp_url.to_owned(),
            namespace: names.namespace(variant),
            databases: Databases::create(database_url, &names.database(variant)).await?,
            logs: names.logs(),
            book: SharedBook::default(),
        })
    }

    pub(crate) async fn violations(&self) -> Result<Vec<String>, BenchError> {
        let told = Told::by(&self.book.lock());
        invariants::check(&self.databases, told).await
    }

    /// Fills the tables with finished sagas, like the one that has run here by now.
    pub(crate) async fn fill(&self, sagas: i64) -> Result<(), BenchError> {
        finished::fill(&self.databases, sagas).await
    }

    fn processes(&self, gateway: SocketAddr) -> Result<Vec<Process>, BenchError> {
        let databases = &self.databases;
        let gateway = ["--listen", &gateway.to_string()];
        Ok(vec![
            self.process("ticket", "ticket-worker", &databases.ticket, &[])?,
            self.process("regist", "regist-worker", &databases.regist, &[])?,
            self.process("gateway", "api-gateway", &databases.gateway, &gateway)?,
        ])
    }

    fn process(
        &self,
        name: &'static str,
        binary: &str,
        database_url: &str,
        more: &[&str],
    ) -> Result<Process, BenchError> {
        let mut command = Command::new(program(binary)?);
        // Only the flags count: a setting or a settings file of the caller's own environment must not
        // change what is measured.
        command.env_clear();
        command.args(["--amqp-url", &self.amqp_url, "--database-url", database_url]);
        command.args(["--namespace", &self.namespace]).args(more);
        command.args(self.variant.flags());
        let log = format!("{}-{binary}.log", self.variant.slug());
        Process::spawn_logging(name, command, &self.logs.join(log))
    }
}

/// Names for everything that one run creates, from its random id.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    run: String,
}

impl Names {
    pub(crate) fn fresh() -> Self {
        // The end of a v7 is random, its beginning is the time.
        let id = uuid::Uuid::now_v7().simple().to_string();
        Self {
            run: id[24..].to_owned(),
        }
    }

    /// What the names of all queues and databases of this run contain.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    pub(crate) fn namespace(&self, variant: Variant) -> String {
        format!("bench-{}-{}", self.run, variant.slug())
    }

    pub(crate) fn database(&self, variant: Variant) -> String {
        format!("bench_{}_{}", self.run, variant.slug().replace('-', "_"))
    }

    /// The folder of what the services say. It stays when a run fails.
    pub(crate) fn logs(&self) -> PathBuf {
        std::env::temp_dir().join(format!("bench-{}", self.run))
    }

    /// The database and the queue of the bare measurements.
    pub(crate) fn bare(&self) -> String {
        format!("bench-{}-bare", self.run)
    }
}

/// A running system.
pub(crate) struct System<'a> {
    home: &'a Home,
    pub(crate) processes: Vec<Process>,
    /// Where the gateway serves HTTP once it runs.
    gateway: SocketAddr,
    bus: Arc<dyn Bus>,
    tasks: Tasks,
    generator: Generator,
}

impl<'a> System<'a> {
    /// Starts everything and sends one saga through.
    pub(crate) async fn start(home: &'a Home) -> Result<Self, BenchError> {
        let mut system = Self::without_services(home).await?;
        system.start_services()?;
        system.run(Load::PROBE).await?;
        system.wait_for_ledger().await?;
        Ok(system)
    }

    /// Only the load generator; commands gather in their queue.
    pub(crate) async fn without_services(home: &'a Home) -> Result<Self, BenchError> {
        let tasks = Tasks::new();
        let config = RabbitMqConfig {
            namespace: home.namespace.clone(),
            packing: Packing::of(home.variant.max_events_per_message()),
            ..RabbitMqConfig::new(home.amqp_url.clone(), "bench")
        };
        let bus: Arc<dyn Bus> = RabbitMqBus::start(config, &tasks)?;
        until_up(&*bus).await;
        let generator = Generator::start(Arc::clone(&bus), home.book.clone(), &tasks).await?;
        Ok(Self {
            home,
            processes: Vec::new(),
            gateway: free_address()?,
            bus,
            tasks,
            generator,
        })
    }

    pub(crate) fn start_services(&mut self) -> Result<(), BenchError> {
        self.processes = self.home.processes(self.gateway)?;
        Ok(())
    }

    pub(crate) async fn run(&self, load: Load) -> Result<Measured, BenchError> {
        self.generator.run(load).await
    }

    /// The same load, through the gateway.
    pub(crate) async fn call(&self, load: Load) -> Result<Measured, BenchError> {
        callers::run(self.gateway, &self.home.book, load).await
    }

    pub(crate) async fn publish_backlog(
        &self,
        sagas: u64,
        refusals: f64,
    ) -> Result<(), BenchError> {
        self.generator.publish_backlog(sagas, refusals).await
    }

    /// How many sagas have ended, of all that were ever started here.
    pub(crate) fn ended(&self) -> usize {
        self.home.book.lock().ended.len()
    }

    /// How far the ledger was behind the callers.
    pub(crate) async fn wait_for_ledger(&self) -> Result<Duration, BenchError> {
        let last = self.home.book.lock().last_ended();
        databases::wait_for_ledger(&self.home.databases.gateway, &last).await
    }

    pub(crate) async fn stop(self) -> Result<(), BenchError> {
        for process in self.processes {
            process.stop().await?;
        }
        self.tasks.stop();
        self.bus.close().await;
        Ok(self.tasks.join(STOP_LIMIT).await?)
    }
}

/// Waits until the bus takes messages; it would refuse them after a moment.
pub(crate) async fn until_up(bus: &dyn Bus) {
    // A sender that is gone is a bus that crashed, and its user will find that nothing works.
    let _ = bus.health().wait_for(Health::is_up).await;
}

/// An address that nobody listens on.
fn free_address() -> Result<SocketAddr, BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener
        .and_then(|listener| listener.local_addr())
        .map_err(BenchError::Connection)
}
