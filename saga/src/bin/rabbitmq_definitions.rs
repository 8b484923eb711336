//! `rabbitmq-definitions`: what a broker has to have before services that run with
//! `--topology check`, for `rabbitmqctl import_definitions`.

use std::io::{self, ErrorKind, Write};

use clap::Parser;
use saga::rabbitmq::{Part, check_namespace, definitions};
use saga::retry::RetryPolicy;

/// Prints exchanges, queues, bindings, and a user with its permissions for each service, as
/// `rabbitmqctl import_definitions` takes them. The users have no password yet: `rabbitmqctl
/// change_password`
#[derive(Parser)]
#[command(name = "rabbitmq-definitions", version)]
struct Arguments {
    /// What of it to print
    #[arg(long, value_enum, value_name = "PART", default_value_t = Part::All)]
    part: Part,
    /// The services' --namespace, a prefix of every name
    #[arg(long, env = "SAGA_NAMESPACE", value_name = "PREFIX", default_value = "", value_parser = namespace)]
    namespace: String,
    /// The virtual host that the services' --amqp-url names. It has to be there
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    vhost: String,
    /// The services' --retry-delays [default: 1s,10s,60s]
    #[arg(long, env = "RETRY_DELAYS", value_name = "DURATIONS")]
    retry_delays: Option<RetryPolicy>,
}

fn namespace(text: &str) -> Result<String, saga::rabbitmq::ConfigError> {
    check_namespace(text).map(|()| text.to_owned())
}

fn main() -> io::Result<()> {
    let Arguments {
        part,
        namespace,
        vhost,
        retry_delays,
    } = Arguments::parse();
    let delays = retry_delays.unwrap_or_default().delays;
    let definitions = definitions(&namespace, &vhost, &delays, part);
    match writeln!(io::stdout(), "{definitions:#}") {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
