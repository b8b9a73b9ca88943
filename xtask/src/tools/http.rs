//! Just enough HTTP to talk to parts while they come up: one request per connection, HTTP/1.0.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::{Context, Failure, Result};

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Endpoint {
    /// Reads `unix:///path`, `tcp://host:port` or `http://host:port`.
    pub(crate) fn parse(address: &str) -> Result<Self> {
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        match scheme {
            "unix" => Ok(Self::Unix(rest.into())),
            "tcp" | "http" => Ok(Self::Tcp(rest.trim_end_matches('/').to_owned())),
            _ => Err(Failure(format!("`{address}`: one of unix://PATH, tcp://HOST:PORT"))),
        }
    }

    /// An answer of any status, with its body.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Answer> {
        self.try_send(request).context(format_args!("{} {}", request.method, request.path))
    }

    /// The body of an answer that says success.
    pub(crate) fn call(&self, request: &Request<'_>) -> Result<String> {
        let answer = self.send(request)?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        let Request { method, path, .. } = request;
        Err(Failure(format!("{method} {path}: {} {}", answer.status, answer.body.trim())))
    }

    pub(crate) fn get(&self, path: &str) -> Result<String> {
        self.call(&Request::new("GET", path))
    }

    fn try_send(&self, request: &Request<'_>) -> io::Result<Answer> {
        let timeout = Some(Duration::from_secs(120));
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(timeout)?;
                exchange(stream, request)
            }
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(timeout)?;
                exchange(stream, request)
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Request<'a> {
    method: &'a str,
    path: &'a str,
    headers: &'a str,
    body: Option<&'a Path>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: &'a str, path: &'a str) -> Self {
        Self { method, path, headers: "", body: None }
    }

    /// Whole lines, each with its line end.
    pub(crate) fn headers(mut self, headers: &'a str) -> Self {
        self.headers = headers;
        self
    }

    pub(crate) fn file(mut self, path: &'a Path) -> Self {
        self.body = Some(path);
        self
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

fn exchange(mut stream: impl Read + Write, request: &Request<'_>) -> io::Result<Answer> {
    let mut file = request.body.map(File::open).transpose()?;
    let length = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|meta| meta.len()))?;
    let Request { method, path, headers, .. } = request;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n"
    )?;
    if let Some(file) = &mut file {
        io::copy(file, &mut stream)?;
    }
    stream.flush()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = parse("HTTP/1.0 404 Not Found\r\nA: b\r\n\r\nno such thing").unwrap();
        assert_eq!(answer, Answer { status: 404, body: "no such thing".into() });
        assert_eq!(parse("OK"), None);
    }

    #[test]
    fn addresses_are_sockets_or_hosts() {
        assert_eq!(Endpoint::parse("unix:///a/b").unwrap(), Endpoint::Unix("/a/b".into()));
        assert_eq!(Endpoint::parse("tcp://127.0.0.1:2375").unwrap(), Endpoint::Tcp("127.0.0.1:2375".into()));
        assert!(Endpoint::parse("ssh://host").is_err());
    }
}
