//! A minimal HTTP/1.1 client: one keep-alive connection, one request at a time, no crate.
//!
//! It shows a broken connection as what it is, which the tests need: a client that quietly sends a
//! request again would hide what a kill did.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than the gateway lets a caller wait for the end of a saga.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// One connection to one server.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self {
            address,
            stream: BufReader::new(stream),
        })
    }

    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, "")
    }

    pub fn post(&mut self, path: &str, body: &str) -> io::Result<Response> {
        self.request("POST", path, body)
    }

    /// Without waiting for the outcome.
    pub fn post_async(&mut self, path: &str, body: &str) -> io::Result<Response> {
        self.request_with("POST", path, &[("prefer", "respond-async")], body)
    }

    pub fn request(&mut self, method: &str, path: &str, body: &str) -> io::Result<Response> {
        self.request_with(method, path, &[], body)
    }

    pub fn request_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Response> {
        let header = |(name, value): &(&str, &str)| format!("{name}: {value}\r\n");
        let headers: String = headers.iter().map(header).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n{headers}\
             content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.send(request.as_bytes())
    }

    /// Sends these bytes as they are, and reads one answer.
    pub fn send(&mut self, request: &[u8]) -> io::Result<Response> {
        self.stream.get_mut().write_all(request)?;
        read_response(&mut self.stream)
    }
}

impl Response {
    /// The body as JSON; a body that is none is shown by the panic.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("the answer is no JSON ({error}): {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// One request on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    Connection::open(address)?.get(path)
}

/// One request on a connection of its own.
pub fn post(address: SocketAddr, path: &str, body: &str) -> io::Result<Response> {
    Connection::open(address)?.post(path, body)
}

fn read_response(stream: &mut impl BufRead) -> io::Result<Response> {
    let status_line = read_line(stream)?;
    let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| invalid(&status_line))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut response = Response {
        status,
        headers,
        body: String::new(),
    };
    let body = match response.header("content-length") {
        Some(length) => read_bytes(stream, length.parse().map_err(|_| invalid(length))?)?,
        None if response.header("transfer-encoding") == Some("chunked") => read_chunks(stream)?,
        None => Vec::new(),
    };
    response.body = String::from_utf8(body).map_err(|_| invalid("a body that is no UTF-8"))?;
    Ok(response)
}

fn read_chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let length = usize::from_str_radix(&line, 16).map_err(|_| invalid(&line))?;
        body.extend(read_bytes(stream, length)?);
        read_line(stream)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn read_bytes(stream: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP: {what:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_status_headers_and_exactly_its_body() {
        let mut stream: &[u8] = b"HTTP/1.1 202 Accepted\r\nLocation: /sagas/1\r\n\
            Content-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n";
        let first = read_response(&mut stream).unwrap();
        assert_eq!((first.status, first.body.as_str()), (202, "{}"));
        assert_eq!(first.header("location"), Some("/sagas/1"));
        assert_eq!(read_response(&mut stream).unwrap().status, 200);
    }

    #[test]
    fn an_answer_in_chunks_is_put_together() {
        let mut stream: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(read_response(&mut stream).unwrap().body, "abc");
    }

    #[test]
    fn a_connection_that_ends_in_the_middle_is_an_error() {
        let mut stream: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
        let error = read_response(&mut stream).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
