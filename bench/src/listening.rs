//! Which process listens behind a URL, so that its CPU time can be read. Only what runs on this
//! machine, and is what it should be, is found: a container engine's proxy is not the database.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use lapin::uri::AMQPUri;
use sqlx::postgres::PgConnectOptions;

/// The servers' processes, where they are known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Servers {
    pub(crate) broker: Option<u32>,
    pub(crate) postgres: Option<u32>,
}

impl Servers {
    pub(crate) fn find(amqp_url: &str, database_url: &str) -> Self {
        let broker = AMQPUri::from_str(amqp_url).ok();
        let broker =
            broker.and_then(|uri| find(&uri.authority.host, uri.authority.port, "beam.smp"));
        let postgres = PgConnectOptions::from_str(database_url).ok();
        let postgres =
            postgres.and_then(|options| find(options.get_host(), options.get_port(), "postgres"));
        Self { broker, postgres }
    }
}

fn find(host: &str, port: u16, program: &str) -> Option<u32> {
    if !["localhost", "127.0.0.1", "::1"].contains(&host) {
        return None;
    }
    let sockets = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let inodes: Vec<String> = sockets
        .iter()
        .flatten()
        .flat_map(|table| table.lines().filter_map(|line| listening_inode(line, port)))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut holders: Vec<u32> = entries
        .filter(|entry| is_program(&entry.path(), program) && holds(&entry.path(), &inodes))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    // A child that inherited the socket is younger.
    holders.sort_unstable();
    holders.first().copied()
}

/// The inode of the socket on this line of `/proc/net/tcp`, if it listens on the port.
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
    if listens {
        fields.get(9).copied()
    } else {
        None
    }
}

fn is_program(process: &Path, program: &str) -> bool {
    fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == program)
}

fn holds(process: &Path, sockets: &[String]) -> bool {
    let open = fs::read_dir(process.join("fd")).into_iter().flatten();
    open.flatten().any(|file| {
        fs::read_link(file.path()).is_ok_and(|to| {
            sockets
                .iter()
                .any(|socket| to.as_os_str() == socket.as_str())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "   3: 0100007F:1628 00000000:0000 0A 00000000:00000000 00:00000000 00000000   106        0 12345 1 0 100 0 0 10 0";

    #[test]
    fn a_listening_socket_is_found_by_its_port_only() {
        assert_eq!(listening_inode(LINE, 0x1628), Some("12345"));
        assert_eq!(listening_inode(LINE, 80), None);
        assert_eq!(listening_inode(&LINE.replace(" 0A ", " 01 "), 0x1628), None);
    }

    #[test]
    fn a_server_elsewhere_is_not_looked_for() {
        let servers = Servers::find("amqp://broker.example", "postgres://db.example/postgres");
        assert!(servers.broker.is_none() && servers.postgres.is_none());
    }
}
