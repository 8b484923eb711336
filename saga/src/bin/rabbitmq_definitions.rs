//! `rabbitmq-definitions`: what a broker has to have before services that run with
//! `--topology check`, for `rabbitmqctl import_definitions`.

use std::io::{self, Write};
use std::time::Duration;

use clap::Parser;
use saga::rabbitmq::{check_namespace, definitions};

/// Prints exchanges, queues, bindings, and a user with its permissions for each service, as
/// `rabbitmqctl import_definitions` takes them. The users have no password yet: `rabbitmqctl
/// change_password`
#[derive(Parser)]
#[command(name = "rabbitmq-definitions", version)]
struct Arguments {
    /// The services' --namespace, a prefix of every name
    #[arg(long, env = "SAGA_NAMESPACE", value_name = "PREFIX", default_value = "", value_parser = namespace)]
    namespace: String,
    /// The virtual host that the services' --amqp-url names
    #[arg(long, value_name = "NAME", default_value = "/")]
    vhost: String,
    /// The services' --retry-delays
    #[arg(
        long,
        env = "RETRY_DELAYS",
        value_name = "DURATIONS",
        default_value = "1s,10s,60s",
        value_delimiter = ','
    )]
    retry_delays: Vec<humantime::Duration>,
    /// Leave the users out, but not their permissions: for a broker that has them already, as importing a
    /// user again takes its password away
    #[arg(long)]
    without_users: bool,
}

fn namespace(text: &str) -> Result<String, saga::rabbitmq::ConfigError> {
    check_namespace(text).map(|()| text.to_owned())
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let delays: Vec<Duration> = arguments.retry_delays.into_iter().map(Into::into).collect();
    let mut definitions = definitions(&arguments.namespace, &arguments.vhost, &delays);
    if arguments.without_users {
        definitions["users"] = serde_json::json!([]);
    }
    writeln!(io::stdout(), "{definitions:#}")
}
