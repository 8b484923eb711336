//! The system as it is run: all in one process on the embedded bus, or the three services as
//! processes of their own on RabbitMQ and PostgreSQL, with replicas.

use sqlx::{Connection, Executor, PgConnection};

use crate::audit::Databases;
use crate::leash;
use crate::private_postgres::PrivatePostgres;
use crate::private_rabbitmq::{PrivateRabbitMq, Queue, TICK};
use crate::service::Service;

/// The all-in-one binary.
const ALL_IN_ONE: &str = "all-in-one";
/// Read by every service for its database; the audit reads them as the superuser.
const DATABASES: [&str; 3] = ["ticket", "regist", "gateway"];

/// The whole system in one process, its data in a temporary folder.
#[derive(Debug)]
pub struct Embedded {
    pub service: Service,
    pub folder: String,
    pub databases: Databases,
}

impl Embedded {
    /// Nothing runs yet.
    pub fn create() -> Self {
        let folder = leash::temporary_folder("embedded");
        let folder = folder.to_str().expect("a UTF-8 path");
        let database = |name: &str| format!("sqlite://{folder}/{name}.db");
        Self {
            service: Service::with_http(ALL_IN_ONE, ALL_IN_ONE, &["--data-dir", folder]),
            folder: folder.to_owned(),
            databases: Databases {
                ticket: database("ticket"),
                regist: database("regist"),
                gateway: database("gateway"),
            },
        }
    }

    /// The same system with other settings, instead of the one that runs.
    pub fn restart_with(&mut self, flags: &[&str]) {
        self.service.stop();
        let flags = [&["--data-dir", self.folder.as_str()], flags].concat();
        self.service = Service::with_http(ALL_IN_ONE, ALL_IN_ONE, &flags);
        self.service.start_and_wait();
    }
}

/// RabbitMQ and PostgreSQL, and in them what the services need to begin with.
#[derive(Debug)]
pub struct Servers {
    pub broker: PrivateRabbitMq,
    pub postgres: PrivatePostgres,
}

impl Servers {
    /// Both run, with an empty database for each service.
    pub fn start_new() -> Self {
        let servers = Self {
            broker: PrivateRabbitMq::start_new(),
            postgres: PrivatePostgres::start_new(),
        };
        servers.create_databases();
        servers
    }

    /// Neither runs, but PostgreSQL holds an empty database for each service.
    pub fn create() -> Self {
        let mut servers = Self {
            broker: PrivateRabbitMq::create(),
            postgres: PrivatePostgres::start_new(),
        };
        servers.create_databases();
        servers.postgres.stop();
        servers
    }

    pub fn databases(&self) -> Databases {
        self.databases_at(self.postgres.port())
    }

    /// The databases over a line that ends at this port.
    pub fn databases_at(&self, port: u16) -> Databases {
        let url = |name| self.postgres.database_url_at(port, name);
        let [ticket, regist, gateway] = DATABASES.map(url);
        Databases {
            ticket,
            regist,
            gateway,
        }
    }

    /// The queues that must be empty when nothing went wrong beyond repair: dead letters, messages
    /// that no queue wanted, and copies that wait for another try.
    pub fn parked(&self) -> Vec<Queue> {
        // So that what was parked a moment ago is told of.
        std::thread::sleep(2 * TICK);
        let is_parking = |queue: &Queue| {
            let name = &queue.name;
            name.ends_with(".dlq")
                || name.contains("saga.retry.")
                || name.ends_with("saga.unrouted")
        };
        let queues = self.broker.queues();
        let parking: Vec<Queue> = queues.into_iter().filter(is_parking).collect();
        assert!(!parking.is_empty(), "there are queues to look at");
        parking
            .into_iter()
            .filter(|queue| queue.messages > 0)
            .collect()
    }

    /// One more gateway.
    pub fn gateway(&self, name: &str, flags: &[&str]) -> Service {
        let (amqp, databases) = (self.broker.url(), self.databases());
        let backend = ["--amqp-url", &amqp, "--database-url", &databases.gateway];
        Service::with_http(name, "api-gateway", &[&backend, flags].concat())
    }

    /// The whole system in one process on these servers.
    pub fn all_in_one(&self) -> Service {
        let (amqp, databases) = (self.broker.url(), self.databases());
        let flags = [
            ["--amqp-url", &amqp],
            ["--ticket-database-url", &databases.ticket],
            ["--regist-database-url", &databases.regist],
            ["--gateway-database-url", &databases.gateway],
        ];
        Service::with_http("all-in-one", ALL_IN_ONE, &flags.concat())
    }

    fn create_databases(&self) {
        let create = async {
            let mut server = PgConnection::connect(&self.postgres.url()).await?;
            for name in DATABASES {
                let statement = format!("CREATE DATABASE {name}");
                server.execute(statement.as_str()).await?;
            }
            server.close().await
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime
            .block_on(create)
            .expect("a new server takes new databases");
    }
}

/// The three services as processes of their own.
#[derive(Debug)]
pub struct Services {
    pub gateway: Service,
    pub ticket_workers: Vec<Service>,
    pub regist_workers: Vec<Service>,
}

impl Services {
    /// One gateway and as many replicas of each worker. Nothing runs yet.
    pub fn on(servers: &Servers, replicas: usize) -> Self {
        Self::at(&servers.broker.url(), &servers.databases(), replicas)
    }

    /// The same, wherever the servers are reached.
    pub fn at(amqp: &str, databases: &Databases, replicas: usize) -> Self {
        let worker = |binary: &str, database: &str| {
            let flags = ["--amqp-url", amqp, "--database-url", database];
            let replica =
                |number| Service::with_ready_file(&format!("{binary}-{number}"), binary, &flags);
            (1..=replicas).map(replica).collect()
        };
        let gateway = ["--amqp-url", amqp, "--database-url", &databases.gateway];
        Self {
            gateway: Service::with_http("api-gateway", "api-gateway", &gateway),
            ticket_workers: worker("ticket-worker", &databases.ticket),
            regist_workers: worker("regist-worker", &databases.regist),
        }
    }

    pub fn all(&mut self) -> impl Iterator<Item = &mut Service> {
        let workers = self
            .ticket_workers
            .iter_mut()
            .chain(&mut self.regist_workers);
        workers.chain([&mut self.gateway])
    }

    pub fn start_and_wait(&mut self) {
        self.all().for_each(Service::start);
        self.all().for_each(Service::wait_until_ready);
    }
}
