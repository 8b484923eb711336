//! Runs private servers for `./test` until its standard input closes.
//!
//! `private-servers postgres rabbitmq` prints one line `<server> <url>` for each as it comes up. The
//! caller holds the other end of the input: when it is gone, however it ended, so are the servers.

use std::io::{Read, Write};

use system_tests::private_postgres::PrivatePostgres;
use system_tests::private_rabbitmq::PrivateRabbitMq;

fn main() -> std::io::Result<()> {
    let mut postgres = Vec::new();
    let mut rabbitmq = Vec::new();
    for server in std::env::args().skip(1) {
        let url = match server.as_str() {
            "postgres" => {
                postgres.push(PrivatePostgres::start_new());
                postgres.last().map(PrivatePostgres::url)
            }
            "rabbitmq" => {
                rabbitmq.push(PrivateRabbitMq::start_new());
                rabbitmq.last().map(PrivateRabbitMq::url)
            }
            _ => None,
        };
        let url = url.unwrap_or_else(|| panic!("there is no server {server:?}"));
        writeln!(std::io::stdout(), "{server} {url}")?;
    }
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
