//! One node, and one request to it. Nothing is repeated here.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hodei_worker_core::{Error, ErrorKind, Result, Retry};
use http::{HeaderValue, Method, Request as HttpRequest, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    address::Address,
    error::{Fault, broken, refused, unreadable},
    transport::{self, HttpClient},
};

/// No answer is longer: a list of some hundred thousand secrets.
const LARGEST: usize = 64 << 20;
const TOKEN: &str = "x-vault-token";
const NAMESPACE: &str = "x-vault-namespace";
/// How far the cluster was when it answered, where it says so.
const INDEX: &str = "x-vault-index";

/// A request, apart from the node that it goes to and the log-in.
#[derive(Clone)]
pub(super) struct Request {
    method: Method,
    /// Below `/v1/`, encoded.
    pub(super) path: String,
    body: Option<Bytes>,
    /// Whether the answer's own words must not be repeated, since they might repeat ours.
    quiet: bool,
}

impl Request {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, quiet: false }
    }
    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, path: path.into(), body: None, quiet: false }
    }
    pub(super) fn post(path: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        let path = path.into();
        let body = body(value).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the request cannot be written").with_source(error)
        })?;
        Ok(Self { method: Method::POST, path, body: Some(body), quiet: false })
    }
    /// What the server says about it is not repeated.
    pub(super) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }
}

/// What a node answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Zeroizing<Vec<u8>>,
    pub(super) retry_after: Option<Duration>,
    pub(super) index: Option<HeaderValue>,
    pub(super) address: Address,
    /// Whether it came from the active node.
    pub(super) is_active: bool,
}

#[derive(Deserialize)]
struct Words {
    #[serde(default)]
    errors: Vec<String>,
}

impl Answer {
    /// The answer's value, or the error that its status stands for.
    pub(super) fn read<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        self.done(request)?;
        self.value(request)
    }
    /// The answer's value, whatever its status.
    pub(super) fn value<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| unreadable(&request.path, &error))
    }
    /// The error that its status stands for, if it is one.
    pub(super) fn done(&self, request: &Request) -> Result<()> {
        if self.status.is_success() { Ok(()) } else { Err(refused(self, request)) }
    }
    /// Why it refuses, in its own words.
    pub(super) fn words(&self, request: &Request) -> Option<String> {
        if request.quiet {
            return None;
        }
        let words: Words = serde_json::from_slice(&self.body).ok()?;
        let words = words.errors.join("; ");
        let words = words.trim();
        let short: String = words.chars().take(500).collect();
        (!short.is_empty()).then_some(short)
    }
}

/// What a node is, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Role {
    Active,
    Standby,
    Unknown,
    /// A standby that cannot reach the active node.
    CutOff,
    /// It answers, but with nothing of use: sealed, not initialised, of another cluster.
    OutOfOrder,
    Dead,
}

/// One node with its connections.
pub(super) struct Node {
    pub(super) address: Address,
    http: HttpClient,
    role: AtomicU8,
}

impl Node {
    pub(super) fn new(address: Address, tls: Option<Arc<ClientConfig>>, connect_timeout: Duration) -> Self {
        let http = transport::client(&address, tls, connect_timeout);
        Self { address, http, role: AtomicU8::new(Role::Unknown as u8) }
    }

    pub(super) fn role(&self) -> Role {
        match self.role.load(Ordering::Relaxed) {
            0 => Role::Active,
            1 => Role::Standby,
            3 => Role::CutOff,
            4 => Role::OutOfOrder,
            5 => Role::Dead,
            _ => Role::Unknown,
        }
    }
    /// Whether it was another one before.
    pub(super) fn set_role(&self, role: Role) -> bool {
        self.role.swap(role as u8, Ordering::Relaxed) != role as u8
    }

    /// Sends a request once.
    pub(super) async fn send(
        &self,
        request: &Request,
        with: &Headers<'_>,
        timeout: Duration,
    ) -> Result<Answer, Fault> {
        let http = self.prepare(request, with)?;
        let answered = async {
            let answer = self.http.request(http).await.map_err(|error| broken(error, &self.address))?;
            let (head, body) = answer.into_parts();
            let after =
                head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Ok(Answer {
                status: head.status,
                retry_after: after.map(Duration::from_secs),
                index: head.headers.get(INDEX).cloned(),
                address: self.address.clone(),
                is_active: self.role() == Role::Active,
                body: self.whole(body).await?,
            })
        };
        match tokio::time::timeout(timeout, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::Unknown(
                Error::new(ErrorKind::Timeout, "the server did not answer in time")
                    .with_retry(Retry::IfIdempotent)
                    .with_context("address", &self.address)
                    .with_context("path", &request.path),
            )),
        }
    }

    fn prepare(&self, request: &Request, with: &Headers<'_>) -> Result<HttpRequest<Full<Bytes>>, Fault> {
        let impossible = |error: http::Error| {
            Error::new(ErrorKind::Unexpected, "the request cannot be made").with_source(error)
        };
        let mut http = HttpRequest::builder()
            .method(request.method.clone())
            .uri(format!("http://{}/v1/{}", self.address.authority(), request.path))
            // Without it, an agent between us and the server may refuse.
            .header("x-vault-request", "true");
        if let Some(token) = with.token {
            let value = HeaderValue::try_from(token.expose_secret());
            let mut value = value.map_err(|error| impossible(error.into()))?;
            value.set_sensitive(true);
            http = http.header(TOKEN, value);
        }
        if let Some(namespace) = with.namespace {
            http = http.header(NAMESPACE, namespace);
        }
        if let Some(index) = with.index {
            http = http.header(INDEX, index);
        }
        if request.body.is_some() {
            http = http.header(header::CONTENT_TYPE, "application/json");
        }
        Ok(http.body(Full::new(request.body.clone().unwrap_or_default())).map_err(impossible)?)
    }

    /// The whole of an answer, in memory that is overwritten when nobody needs it any more.
    async fn whole(&self, mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let broke = |error: Box<dyn std::error::Error + Send + Sync>| {
            Fault::Unknown(
                Error::new(ErrorKind::Unavailable, "the connection to the server broke")
                    .with_retry(Retry::IfIdempotent)
                    .with_context("address", &self.address)
                    .with_source(error),
            )
        };
        let mut frames = Vec::new();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(|error| broke(error.into()))?.into_data() {
                length += data.len();
                if length > LARGEST {
                    return Err(broke(io::Error::other("the answer has no end").into()));
                }
                frames.push(data);
            }
        }
        // In one piece: a buffer that grows leaves its earlier places behind.
        let mut whole = Zeroizing::new(Vec::with_capacity(length));
        frames.iter().for_each(|frame| whole.extend_from_slice(frame));
        Ok(whole)
    }
}

/// What goes along with each request.
#[derive(Clone, Copy, Default)]
pub(super) struct Headers<'a> {
    pub(super) token: Option<&'a SecretString>,
    pub(super) namespace: Option<&'a str>,
    pub(super) index: Option<&'a HeaderValue>,
}

/// A request's body, which is overwritten when nobody needs it any more.
fn body<T: Serialize>(value: &T) -> serde_json::Result<Bytes> {
    // Counted first: a buffer that grows leaves its earlier places behind.
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *bytes, value)?;
    Ok(Bytes::from_owner(bytes))
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A path of the API, percent-encoded but for the `/` between its parts.
pub(super) fn encode(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(byte as char);
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_paths_are_encoded() {
        assert_eq!(encode("prod/db #1?é"), "prod/db%20%231%3F%C3%A9");
    }

    #[test]
    fn c2_a_role_is_kept_as_it_is_set() {
        let node = Node::new(Address::parse("http://127.0.0.1:1").unwrap(), None, Duration::from_secs(1));
        for role in [Role::Active, Role::Standby, Role::Unknown, Role::CutOff, Role::OutOfOrder, Role::Dead] {
            node.set_role(role);
            assert_eq!(node.role(), role);
        }
        assert!(node.set_role(Role::Active) && !node.set_role(Role::Active));
    }
}
