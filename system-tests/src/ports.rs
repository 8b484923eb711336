//! Ports for servers that are stopped and started again during a test.

use std::net::{Ipv4Addr, TcpListener};

/// Below 32768, where systems begin to hand out ports to outgoing connections: such a connection
/// could take a stopped server's port, and a client that retries a local port in that range can
/// even connect to itself. Above 20000 there is little else.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port of 127.0.0.1 on which nobody listens now.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(RANGE);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
