//! The system under chaos: our own RabbitMQ and PostgreSQL, a line to each, and the three services.

use system_tests::audit::Databases;
use system_tests::deployment::{Servers, Services};
use system_tests::line::Line;

/// Of each worker.
const REPLICAS: usize = 2;

pub(crate) struct Rig {
    pub(crate) servers: Servers,
    pub(crate) to_rabbitmq: Line,
    pub(crate) to_postgres: Line,
    pub(crate) services: Services,
}

impl Rig {
    /// Everything runs, and the services reach the servers over the lines.
    pub(crate) fn start() -> Self {
        let servers = Servers::start_new();
        let to_rabbitmq = Line::to(servers.broker.port());
        let to_postgres = Line::to(servers.postgres.port());
        let amqp = servers.broker.url_at(to_rabbitmq.port());
        let databases = servers.databases_at(to_postgres.port());
        let mut services = Services::at(&amqp, &databases, REPLICAS);
        services.start_and_wait();
        Self {
            servers,
            to_rabbitmq,
            to_postgres,
            services,
        }
    }

    /// The databases as they are, whatever becomes of the line.
    pub(crate) fn databases(&self) -> Databases {
        self.servers.databases()
    }

    /// Whatever befalls its servers, a service waits; none ends but by our own hand.
    pub(crate) fn check_that_services_run(&mut self) {
        for service in self.services.all() {
            if let Some(status) = service.exited() {
                panic!(
                    "{} ended by itself ({status}):\n{}",
                    service.name(),
                    service.log()
                );
            }
        }
    }
}
