//! One engine: the negotiated client of its API, and the few requests that bollard does not make as we need them.

use std::{
    fmt, io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion, Docker, body_full, models::SystemVersion};
use bytes::Bytes;
use hodei_worker_core::{Error, ErrorKind, Result, Timestamp};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use rustls::ClientConfig;
use secrecy::zeroize::Zeroizing;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    DockerSettings,
    endpoint::{self, Address, Endpoint},
    error::{EngineError, EngineResult, classify},
    registry,
    transport::{self, HttpClient},
};

/// The oldest API that has all that we use: Docker 19.03.
const OLDEST: (usize, usize) = (1, 40);
/// The first API whose engine keeps the line feeds of long lines in the log driver `local`: Docker 23.
const KEEPS_LINE_FEEDS: (usize, usize) = (1, 42);
/// The first API whose engine leaves out of a log what it cannot read, and does not say so: Docker 23.
const HIDES_DAMAGE: (usize, usize) = (1, 42);
/// For calls that take as long as a pull or a worker's end; whoever waits sets the deadline.
const LONG: Duration = Duration::from_secs(7 * 24 * 3600);

/// No answer that is read whole is longer: a list of some ten thousand containers.
const LARGEST: usize = 64 << 20;

/// What the engine answered.
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    /// The engine's clock, in whole seconds.
    pub(crate) date: Option<Timestamp>,
}

/// The whole of an answer.
pub(crate) async fn whole(answer: Response<Incoming>) -> EngineResult<Bytes> {
    match Limited::new(answer.into_body(), LARGEST).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(broken) => (*broken).into(),
            Err(endless) => <serde_json::Error as serde::de::Error>::custom(endless).into(),
        }),
    }
}

/// A connection to one engine, with its pool.
pub(crate) struct Engine {
    pub(crate) endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
    http: RwLock<HttpClient>,
    authority: String,
    timeout: Duration,
    docker: RwLock<Docker>,
}

impl Engine {
    /// A connection that has asked the engine nothing yet.
    pub(crate) fn new(endpoint: Endpoint, settings: &DockerSettings) -> Result<Self> {
        let tls = endpoint.tls.as_ref().map(endpoint::tls_config).transpose()?;
        let connect_timeout = settings.connect_timeout.get();
        let http = transport::client(endpoint.address.clone(), tls.clone(), connect_timeout);
        let authority = match &endpoint.address {
            Address::Unix(_) => "localhost".to_owned(),
            Address::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port, .. } => format!("{host}:{port}"),
        };
        let timeout = settings.request_timeout.get();
        let docker = connect(&http, &authority, timeout, API_DEFAULT_VERSION)
            .map_err(|error| classify(error, &endpoint))?;
        let (http, docker) = (RwLock::new(http), RwLock::new(docker));
        Ok(Self { endpoint, tls, connect_timeout, http, authority, timeout, docker })
    }

    /// Agrees on an API version: the newest that both sides speak. Old engines refuse what is too new for them, new
    /// ones what is too old.
    pub(crate) async fn negotiate(&self) -> Result<SystemVersion> {
        let asked = async { whole(self.send(Method::GET, "/version".to_owned(), None).await?).await };
        let answer = self.in_time(asked).await.map_err(|error| {
            let status = crate::error::status(&error);
            let error = self.error(error);
            match status {
                // Go's TLS servers answer 400 to a request in the clear.
                Some(400) if self.endpoint.tls.is_none() => {
                    error.with_help("if this is the engine's port for TLS, set `tls`")
                }
                Some(_) => error.with_help("is this a Docker Engine?"),
                None => error,
            }
        })?;
        let version: SystemVersion =
            serde_json::from_slice(&answer).map_err(|error| self.error(error.into()))?;
        let theirs = version.api_version.as_deref().and_then(parse_version);
        let Some(theirs) = theirs else {
            return Err(Error::new(ErrorKind::Unexpected, "what answers there names no API version")
                .with_context("endpoint", &self.endpoint)
                .with_help("is this a Docker Engine?"));
        };
        let ours = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
        let least = version.min_api_version.as_deref().and_then(parse_version).unwrap_or((0, 0));
        let agreed = theirs.min(ours);
        if agreed < OLDEST || agreed < least {
            let message = format!(
                "the engine speaks the API versions {}.{} to {}.{}, this library {}.{} to {}.{}",
                least.0, least.1, theirs.0, theirs.1, OLDEST.0, OLDEST.1, ours.0, ours.1
            );
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_context("endpoint", &self.endpoint)
                .with_help("update the older of the two"));
        }
        let agreed = ClientVersion { major_version: agreed.0, minor_version: agreed.1 };
        self.speak(&agreed)?;
        Ok(version)
    }

    fn speak(&self, version: &ClientVersion) -> Result<()> {
        let docker = connect(&self.http(), &self.authority, self.timeout, version)
            .map_err(|error| classify(error, &self.endpoint))?;
        *self.docker.write().unwrap_or_else(PoisonError::into_inner) = docker;
        Ok(())
    }

    fn http(&self) -> HttpClient {
        self.http.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of all idle connections: where one has died without a sign, the others have too.
    pub(crate) fn reconnect(&self) -> Result<()> {
        let fresh = transport::client(self.endpoint.address.clone(), self.tls.clone(), self.connect_timeout);
        *self.http.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        let version = self.docker().client_version();
        self.speak(&version)
    }

    /// The client of the API, at the agreed version. Cheap to clone.
    pub(crate) fn docker(&self) -> Docker {
        self.docker.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the engine forgets the line feeds of lines over 16 KiB, with this log driver.
    pub(crate) fn forgets_line_feeds(&self, log_driver: &str) -> bool {
        log_driver == "local" && !self.speaks(KEEPS_LINE_FEEDS.0, KEEPS_LINE_FEEDS.1)
    }

    /// Whether the engine does not say that it cannot read a damaged log.
    pub(crate) fn hides_damage(&self) -> bool {
        self.speaks(HIDES_DAMAGE.0, HIDES_DAMAGE.1)
    }

    /// The client for calls that may take long to begin their answer.
    pub(crate) fn patient(&self) -> Docker {
        self.docker().with_timeout(LONG)
    }

    /// A request that bollard cannot make, at the agreed version. `query` begins with `?` or is empty.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<Bytes>,
    ) -> EngineResult<Response<Incoming>> {
        let version = self.docker().client_version();
        self.send(method, format!("/v{version}{path}{query}"), body).await
    }

    async fn send(
        &self,
        method: Method,
        path: String,
        body: Option<Bytes>,
    ) -> EngineResult<Response<Incoming>> {
        self.send_as(method, path, body.map(|body| (body, "application/json"))).await
    }

    async fn send_as(
        &self,
        method: Method,
        path: String,
        body: Option<(Bytes, &'static str)>,
    ) -> EngineResult<Response<Incoming>> {
        self.in_time(self.exchange(method, path, body, None)).await
    }

    /// A request at the agreed version that the engine passes on to a registry, with the log-in there. Whoever calls
    /// sets the limit of time. Not by bollard, which has a copy of the log-in that nobody overwrites.
    pub(crate) async fn ask_registry(
        &self,
        method: Method,
        path: &str,
        query: &str,
        log_in: Option<&HeaderValue>,
    ) -> EngineResult<Response<Incoming>> {
        let version = self.docker().client_version();
        self.exchange(method, format!("/v{version}{path}{query}"), None, log_in).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: String,
        body: Option<(Bytes, &'static str)>,
        log_in: Option<&HeaderValue>,
    ) -> EngineResult<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.authority));
        if let Some((_, kind)) = &body {
            request = request.header(http::header::CONTENT_TYPE, *kind);
        }
        if let Some(log_in) = log_in {
            request = request.header(registry::HEADER, log_in);
        }
        let body = body.map(|(bytes, _)| bytes).unwrap_or_default();
        let request = request.body(body_full(body))?;
        let answer = self.http().request(request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let bytes = whole(answer).await?;
        #[derive(serde::Deserialize)]
        struct Refusal {
            message: String,
        }
        let message = serde_json::from_slice::<Refusal>(&bytes)
            .map_or_else(|_| String::from_utf8_lossy(&bytes).into_owned(), |refusal| refusal.message);
        Err(EngineError::DockerResponseServerError { status_code: status.as_u16(), message })
    }

    /// Gives up on the engine after the time that it has for an answer.
    pub(crate) async fn in_time<T>(&self, answer: impl Future<Output = EngineResult<T>>) -> EngineResult<T> {
        tokio::time::timeout(self.timeout, answer).await.unwrap_or(Err(EngineError::RequestTimeoutError))
    }

    /// A request with its whole answer, which has a limit of time and of size. Unlike bollard, it logs no body: an
    /// inspected container shows its environment.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<Bytes>,
    ) -> EngineResult<Answer<T>> {
        self.in_time(async {
            let answer = self.request(method, path, query, body).await?;
            let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
            let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
            let bytes = whole(answer).await?;
            Ok(Answer { value: serde_json::from_slice(&bytes)?, date: date.map(|date| date.timestamp()) })
        })
        .await
    }

    /// Asks for an object.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &str) -> EngineResult<T> {
        Ok(self.call(Method::GET, path, query, None).await?.value)
    }

    /// A request whose answer says no more than that it was carried out.
    pub(crate) async fn command(&self, method: Method, path: &str, query: &str) -> EngineResult<()> {
        self.in_time(async { whole(self.request(method, path, query, None).await?).await.map(drop) }).await
    }

    /// A request with a body, whose answer says no more than that it was carried out.
    pub(crate) async fn send_to(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<Bytes>,
    ) -> EngineResult<()> {
        self.in_time(async { whole(self.request(method, path, query, body).await?).await.map(drop) }).await
    }

    /// Sends an archive for the engine to unpack.
    pub(crate) async fn put(&self, path: &str, query: &str, archive: Bytes) -> EngineResult<()> {
        let version = self.docker().client_version();
        let path = format!("/v{version}{path}{query}");
        let sent = self.send_as(Method::PUT, path, Some((archive, "application/x-tar")));
        self.in_time(async { whole(sent.await?).await.map(drop) }).await
    }

    /// The agreed version.
    pub(crate) fn version(&self) -> (usize, usize) {
        let version = self.docker().client_version();
        (version.major_version, version.minor_version)
    }

    /// The beginning of an answer that may be long. What comes after it is not fetched.
    pub(crate) async fn beginning(&self, path: &str, query: &str, length: usize) -> EngineResult<Vec<u8>> {
        self.in_time(async {
            let mut body = self.request(Method::GET, path, query, None).await?.into_body();
            let mut begin = Vec::new();
            while begin.len() < length
                && let Some(frame) = body.frame().await
            {
                begin.extend(frame?.data_ref().into_iter().flatten());
            }
            begin.truncate(length);
            Ok(begin)
        })
        .await
    }

    /// Whether the agreed version is at least this one.
    pub(crate) fn speaks(&self, major: usize, minor: usize) -> bool {
        self.version() >= (major, minor)
    }

    /// The time that the engine has for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What failed, as the library's error.
    pub(crate) fn error(&self, error: EngineError) -> Error {
        if matches!(error, EngineError::RequestTimeoutError) {
            // The others must not wait in vain on connections that are as dead as this one.
            self.reconnect().ok();
        }
        classify(error, &self.endpoint)
    }
}

fn connect(
    http: &HttpClient,
    authority: &str,
    timeout: Duration,
    version: &ClientVersion,
) -> EngineResult<Docker> {
    let http = http.clone();
    let send = move |request: BollardRequest| {
        let answer = http.request(request);
        Box::pin(async move { answer.await.map_err(EngineError::from) })
    };
    Docker::connect_with_custom_transport(
        send,
        Some(format!("http://{authority}")),
        timeout.as_secs(),
        version,
    )
}

fn parse_version(text: &str) -> Option<(usize, usize)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("endpoint", &self.endpoint.to_string()).finish_non_exhaustive()
    }
}

/// A request's body, which is overwritten when nobody needs it any more: it may hold secrets.
pub(crate) fn body<T: Serialize>(value: &T) -> serde_json::Result<Bytes> {
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

/// A query string of these pairs, percent-encoded.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (n, (name, value)) in pairs.iter().enumerate() {
        text.push(if n == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            push_encoded(&mut text, byte);
        }
    }
    text
}

fn push_encoded(text: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        text.push(byte as char);
    } else {
        text.push_str(&format!("%{byte:02X}"));
    }
}

/// One segment of a path, percent-encoded.
pub(crate) fn segment(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    name.bytes().for_each(|byte| push_encoded(&mut text, byte));
    text
}

/// Shared by everything that talks to the engine.
pub(crate) type SharedEngine = Arc<Engine>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d1_queries_are_encoded() {
        assert_eq!(
            query(&[("a", "x y"), ("filters", r#"{"é":1}"#)]),
            "?a=x%20y&filters=%7B%22%C3%A9%22%3A1%7D"
        );
        assert_eq!(query(&[]), "");
    }

    #[test]
    fn d7_a_body_is_its_value_as_text() {
        assert_eq!(body(&["a", "b"]).unwrap(), r#"["a","b"]"#);
    }

    #[test]
    fn d1_versions_are_read() {
        assert_eq!(parse_version("1.41"), Some((1, 41)));
        assert_eq!(parse_version("1"), None);
    }
}
