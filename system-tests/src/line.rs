//! A TCP line to a server that can be cut, stalled and slowed: a proxy in front of the server, which
//! knows nothing of it. Clients connect to the line's own port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ports::free_port;

/// As much as a slow line takes up at once: small, so that its delay is felt by each message.
const CHUNK: usize = 16 * 1024;
/// Before the port is asked for again while the system has not let go of it.
const BIND_AGAIN: Duration = Duration::from_millis(10);

/// What the line does with what is sent. Connections that were lost pass nothing in any state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Passes everything on.
    Open,
    /// All connections are reset, and new ones refused.
    Cut,
    /// Connections stay open, new ones are taken, and not a byte passes.
    Stalled,
    /// Every chunk is held up, in both directions.
    Slow {
        delay: Duration,
        bytes_per_second: u32,
    },
}

/// A line to one server. Dropping it cuts it for good.
#[derive(Debug)]
pub struct Line {
    port: u16,
    state: watch::Sender<State>,
    /// How often connections were lost.
    losses: watch::Sender<u32>,
    is_listening: watch::Receiver<bool>,
    runtime: Runtime,
}

/// What connections go by.
#[derive(Clone)]
struct Signals {
    state: watch::Receiver<State>,
    losses: watch::Receiver<u32>,
}

impl Line {
    /// An open line to the server on this port.
    pub fn to(server: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let port = free_port();
        let state = watch::Sender::new(State::Open);
        let losses = watch::Sender::new(0);
        let (listening, is_listening) = watch::channel(false);
        let signals = Signals {
            state: state.subscribe(),
            losses: losses.subscribe(),
        };
        runtime.spawn(listen(port, server, signals, listening));
        let line = Self {
            port,
            state,
            losses,
            is_listening,
            runtime,
        };
        line.set(State::Open);
        line
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns when new connections are taken, or refused, as the state says.
    pub fn set(&self, state: State) {
        self.state.send_replace(state);
        let mut is_listening = self.is_listening.clone();
        let wanted = state != State::Cut;
        let changed = is_listening.wait_for(|listening| *listening == wanted);
        self.runtime.block_on(changed).expect("the line listens");
    }

    /// From now on no connection that there is passes a byte, and neither side hears why, as when a
    /// firewall forgets them. New ones are as good as ever.
    pub fn lose_connections(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }
}

/// A cut line has no listener, so that connections are refused.
async fn listen(port: u16, server: u16, signals: Signals, listening: watch::Sender<bool>) {
    let mut state = signals.state.clone();
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while state.wait_for(|state| *state != State::Cut).await.is_ok() {
        let Ok(listener) = TcpListener::bind(address(port)).await else {
            tokio::time::sleep(BIND_AGAIN).await;
            continue;
        };
        listening.send_replace(true);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = state.wait_for(|state| *state == State::Cut) => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => if let Ok((client, _)) = accepted {
                    connections.spawn(connection(client, address(server), signals.clone()));
                },
            }
        }
        drop(listener);
        // Each of them sees it by itself.
        while connections.join_next().await.is_some() {}
        listening.send_replace(false);
    }
}

/// One connection, until both sides have ended it or it is cut.
async fn connection(
    mut client: TcpStream,
    server: SocketAddr,
    mut signals: Signals,
) -> io::Result<()> {
    signals.losses.mark_unchanged();
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let is_cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = pass_on(from_client, to_server, signals.clone());
        let back = pass_on(from_server, to_client, signals.clone());
        tokio::select! {
            _ = signals.state.wait_for(|state| *state == State::Cut) => true,
            (there, back) = async { tokio::join!(there, back) } => there.and(back).is_err(),
        }
    };
    if is_cut {
        // With this, to drop them is to reset them.
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    Ok(())
}

/// Until the sender has no more to say, or the connection breaks.
async fn pass_on(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut signals: Signals,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk).await?;
        let state = signals.state.wait_for(|state| *state != State::Stalled);
        let state = *state.await.map_err(io::Error::other)?;
        if signals.losses.has_changed().map_err(io::Error::other)? {
            return std::future::pending().await;
        }
        if let State::Slow {
            delay,
            bytes_per_second,
        } = state
        {
            let length = u32::try_from(length).expect("a chunk is small");
            let sending = Duration::from_secs(1) * length / bytes_per_second;
            tokio::time::sleep(delay + sending).await;
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;

    /// Longer than a byte takes over an open line, however loaded the machine is.
    const PATIENCE: Duration = Duration::from_secs(10);
    /// How long a stalled line is watched for a byte that must not come.
    const SILENCE: Duration = Duration::from_millis(200);

    /// A server that sends back what it gets.
    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
                });
            }
        });
        port
    }

    fn connect(line: &Line) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, line.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn comes_back(stream: &mut TcpStream) -> io::Result<u8> {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    #[test]
    fn a_cut_line_resets_what_is_connected_and_refuses_what_comes_until_it_is_open_again() {
        let line = Line::to(echo());
        let mut stream = connect(&line);
        stream.write_all(&[7]).unwrap();
        assert_eq!(comes_back(&mut stream).unwrap(), 7);
        line.set(State::Cut);
        let error = comes_back(&mut stream).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        TcpStream::connect((Ipv4Addr::LOCALHOST, line.port())).unwrap_err();
        line.set(State::Open);
        let mut stream = connect(&line);
        stream.write_all(&[8]).unwrap();
        assert_eq!(comes_back(&mut stream).unwrap(), 8);
    }

    #[test]
    fn a_stalled_line_passes_nothing_and_afterwards_everything() {
        let line = Line::to(echo());
        let mut stream = connect(&line);
        line.set(State::Stalled);
        stream.write_all(&[1, 2]).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        comes_back(&mut stream).unwrap_err();
        line.set(State::Open);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let back = [(); 2].map(|()| comes_back(&mut stream).unwrap());
        assert_eq!(back, [1, 2]);
    }

    #[test]
    fn a_lost_connection_says_nothing_for_ever_and_a_new_one_works() {
        let line = Line::to(echo());
        let mut lost = connect(&line);
        lost.write_all(&[1]).unwrap();
        assert_eq!(comes_back(&mut lost).unwrap(), 1);
        line.lose_connections();
        lost.write_all(&[2]).unwrap();
        let mut stream = connect(&line);
        stream.write_all(&[3]).unwrap();
        assert_eq!(comes_back(&mut stream).unwrap(), 3);
        lost.set_read_timeout(Some(SILENCE)).unwrap();
        let error = comes_back(&mut lost).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_slow_line_delays() {
        let line = Line::to(echo());
        let delay = Duration::from_millis(50);
        line.set(State::Slow {
            delay,
            bytes_per_second: 1000,
        });
        let mut stream = connect(&line);
        let sent = Instant::now();
        stream.write_all(&[1]).unwrap();
        comes_back(&mut stream).unwrap();
        assert!(sent.elapsed() >= delay * 2, "{:?}", sent.elapsed());
    }
}
