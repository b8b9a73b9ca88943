//! Just enough HTTP to talk to parts while they come up: one request per connection, HTTP/1.0.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write};
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

    /// An answer, unless one of its parts takes longer than that.
    pub(crate) fn get_within(&self, path: &str, limit: Duration) -> io::Result<Answer> {
        self.send_within(&Request::new("GET", path), limit)
    }

    /// The same for any request.
    pub(crate) fn send_within(&self, request: &Request<'_>, limit: Duration) -> io::Result<Answer> {
        exchange(self.connect(limit)?, request)
    }

    fn try_send(&self, request: &Request<'_>) -> io::Result<Answer> {
        self.send_within(request, Duration::from_secs(120))
    }

    /// Reads an answer that goes on, line by line, until `each` says no or the other side ends it. What is no line within
    /// `pause` is told as `None`.
    pub(crate) fn lines(
        &self,
        path: &str,
        pause: Duration,
        mut each: impl FnMut(Option<&str>) -> bool,
    ) -> io::Result<()> {
        let mut stream = self.connect(pause)?;
        begin(&mut stream, &Request::new("GET", path))?;
        let mut reader = BufReader::new(stream);
        // What was read of a line stays there over a pause.
        let mut line = Vec::new();
        let mut in_head = true;
        loop {
            let told = match reader.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    let text = String::from_utf8_lossy(&std::mem::take(&mut line)).trim_end().to_owned();
                    if in_head {
                        in_head = !text.is_empty();
                        continue;
                    }
                    Some(text)
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    None
                }
                Err(error) => return Err(error),
            };
            if !each(told.as_deref()) {
                return Ok(());
            }
        }
    }

    fn connect(&self, timeout: Duration) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(timeout))?;
                Box::new(stream)
            }
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(timeout))?;
                Box::new(stream)
            }
        })
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

#[derive(Debug)]
pub(crate) struct Request<'a> {
    method: &'a str,
    path: &'a str,
    headers: &'a str,
    body: Body<'a>,
}

#[derive(Debug)]
enum Body<'a> {
    File(&'a Path),
    Text(&'a str),
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: &'a str, path: &'a str) -> Self {
        Self { method, path, headers: "", body: Body::Text("") }
    }

    /// Whole lines, each with its line end.
    pub(crate) fn headers(mut self, headers: &'a str) -> Self {
        self.headers = headers;
        self
    }

    pub(crate) fn file(mut self, path: &'a Path) -> Self {
        self.body = Body::File(path);
        self
    }

    pub(crate) fn text(mut self, text: &'a str) -> Self {
        self.body = Body::Text(text);
        self
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

fn begin(stream: &mut impl Write, request: &Request<'_>) -> io::Result<()> {
    let Request { method, path, headers, body } = request;
    let mut file = None;
    let length = match body {
        Body::File(path) => file.insert(File::open(path)?).metadata()?.len(),
        Body::Text(text) => text.len() as u64,
    };
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n"
    )?;
    match (body, &mut file) {
        (Body::Text(text), _) => stream.write_all(text.as_bytes())?,
        (_, Some(file)) => io::copy(file, stream).map(drop)?,
        (_, None) => {}
    }
    stream.flush()
}

fn exchange(mut stream: impl Read + Write, request: &Request<'_>) -> io::Result<Answer> {
    begin(&mut stream, request)?;
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
