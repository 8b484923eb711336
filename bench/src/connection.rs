//! One keep-alive connection of a caller: HTTP/1.1 with a request at a time, one write and mostly one
//! read each. It is this bare because the load shares the machine with what it measures.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer of the gateway fits in at once.
const READ_AHEAD: usize = 4 * 1024;
/// Between head and body.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    request: Vec<u8>,
    received: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            address,
            request: Vec::new(),
            received: Vec::with_capacity(READ_AHEAD),
        })
    }

    /// Posts JSON, and returns with the whole answer.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> io::Result<Answer<'_>> {
        self.request.clear();
        let (host, length) = (self.address, body.len());
        io::Write::write_fmt(
            &mut self.request,
            format_args!(
                "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n\r\n{body}"
            ),
        )?;
        self.stream.write_all(&self.request).await?;
        self.received.clear();
        let head = loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match Head::of(&self.received)? {
                Some(head) if self.received.len() >= head.length + head.body => break head,
                _ => {}
            }
        };
        Ok(Answer {
            status: head.status,
            body: &self.received[head.length..],
        })
    }
}

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Its own length, and that of the body.
    length: usize,
    body: usize,
}

impl Head {
    /// None as long as it is not complete.
    fn of(received: &[u8]) -> io::Result<Option<Self>> {
        let mut windows = received.windows(END_OF_HEAD.len());
        let Some(end) = windows.position(|bytes| bytes == END_OF_HEAD) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&received[..end]).map_err(io::Error::other)?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let body = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse().ok()).flatten()
        });
        let (Some(status), Some(body)) = (status, body) else {
            let text = format!("an answer without a status or a content-length: {text:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        };
        let length = end + END_OF_HEAD.len();
        Ok(Some(Self {
            status,
            length,
            body,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        let answer = b"HTTP/1.1 409 Conflict\r\nContent-Length: 12\r\ndate: today\r\n\r\n{}";
        let head = Head::of(answer).unwrap().unwrap();
        assert_eq!((head.status, head.body), (409, 12));
        assert_eq!(&answer[head.length..], b"{}");
        assert_eq!(Head::of(&answer[..40]).unwrap(), None);
    }

    #[test]
    fn an_answer_that_does_not_tell_its_length_is_an_error() {
        Head::of(b"HTTP/1.1 200 OK\r\n\r\n").unwrap_err();
    }
}
