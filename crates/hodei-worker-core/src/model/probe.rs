use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::quantity::{HumanDuration, QuantityError, textual};

/// What is tried to find out whether a worker is well.
///
/// # Examples
/// ```
/// use hodei_worker_core::model::{HttpProbe, Probe, Scheme};
/// let probe: Probe = serde_json::from_value(serde_json::json!({
///     "http": {"port": 8443, "path": "/live", "scheme": "https", "expect": ["200", "204-205"]},
/// }))?;
/// let Probe::Http(http) = &probe else { unreachable!() };
/// assert!(http.scheme == Scheme::Https && http.accepts(204) && !http.accepts(302));
/// assert!(HttpProbe::new(80).accepts(302));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Probe {
    /// A command inside the worker, which must exit with 0.
    Command(Vec<String>),
    /// An HTTP GET, which must be answered with an expected status. Redirections are not followed.
    Http(HttpProbe),
    /// A TCP connection, which must be accepted.
    Tcp {
        /// The worker's port.
        port: u16,
    },
    /// What the provider itself knows, such as an image's own health check.
    Native,
    /// The worker must be heard of: it says `::hodei heartbeat` where it [reports](super::WorkerSpec::reports), or its
    /// host says so for it. The check's interval, timeout and thresholds do not count.
    Heartbeat {
        /// The longest time between two signs of life.
        within: HumanDuration,
    },
}

impl Probe {
    /// Which kind it is.
    pub const fn kind(&self) -> ProbeKind {
        match self {
            Self::Command(_) => ProbeKind::Command,
            Self::Http(_) => ProbeKind::Http,
            Self::Tcp { .. } => ProbeKind::Tcp,
            Self::Native => ProbeKind::Native,
            Self::Heartbeat { .. } => ProbeKind::Heartbeat,
        }
    }
    /// A command, which must exit with 0.
    pub fn command<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self::Command(command.into_iter().map(Into::into).collect())
    }
    /// A GET of this path at the worker's port.
    pub fn http(port: u16, path: impl Into<String>) -> Self {
        Self::Http(HttpProbe { path: path.into(), ..HttpProbe::new(port) })
    }
}

/// What kind of probe it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProbeKind {
    /// A command inside the worker.
    Command,
    /// An HTTP request.
    Http,
    /// A TCP connection.
    Tcp,
    /// What the provider itself knows.
    Native,
    /// Signs of life.
    Heartbeat,
    /// A kind that a newer version knows.
    #[serde(other)]
    Unknown,
}

impl ProbeKind {
    /// Its name in configurations and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Native => "native",
            Self::Heartbeat => "heartbeat",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An HTTP GET that tells whether a worker is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpProbe {
    /// The worker's port.
    pub port: u16,
    /// Path and query. Default: `/`.
    #[serde(default = "HttpProbe::root")]
    pub path: String,
    /// Over TLS or not. Default: `http`.
    #[serde(default, skip_serializing_if = "Scheme::is_http")]
    pub scheme: Scheme,
    /// The host that is asked for, in `Host` and in TLS. Default: the address that is connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Headers. They show wherever the configuration shows: no secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Statuses that mean that it is well, as in `["200", "204-205"]`. Default: 200 to 399.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<StatusRange>,
}

impl HttpProbe {
    fn root() -> String {
        "/".to_owned()
    }
    /// A GET of `/` at this port.
    pub fn new(port: u16) -> Self {
        Self {
            port,
            path: Self::root(),
            scheme: Scheme::Http,
            host: None,
            headers: BTreeMap::new(),
            expect: Vec::new(),
        }
    }
    /// The same, of another path.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }
    /// The same, over TLS.
    #[must_use]
    pub const fn https(mut self) -> Self {
        self.scheme = Scheme::Https;
        self
    }
    /// The same, asking for this host.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }
    /// The same with another header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }
    /// The same, well at these statuses too; without any, at 200 to 399.
    #[must_use]
    pub fn expect(mut self, statuses: StatusRange) -> Self {
        self.expect.push(statuses);
        self
    }
    /// Whether an answer of this status means that the worker is well.
    pub fn accepts(&self, status: u16) -> bool {
        match self.expect.as_slice() {
            [] => StatusRange::WELL.contains(status),
            ranges => ranges.iter().any(|range| range.contains(status)),
        }
    }
}

/// How an HTTP probe is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Over TLS. Whose certificate it is does not count, unless the host's settings name roots.
    Https,
}

impl Scheme {
    fn is_http(&self) -> bool {
        *self == Self::Http
    }
}

/// HTTP statuses from one to another, both included: `200`, `200-299`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    from: u16,
    to: u16,
}

impl StatusRange {
    /// What means well where nothing else is said: 200 to 399.
    pub const WELL: Self = Self { from: 200, to: 399 };

    /// This status only.
    ///
    /// # Errors
    /// [`QuantityError`] when it is none: below 100 or above 599.
    pub fn only(status: u16) -> Result<Self, QuantityError> {
        Self::between(status, status)
    }
    /// From one status to another, both included.
    ///
    /// # Errors
    /// [`QuantityError`] when one is below 100 or above 599, or the first is the greater.
    pub fn between(from: u16, to: u16) -> Result<Self, QuantityError> {
        let range = Self { from, to };
        if from < 100 || to > 599 || from > to {
            return Err(QuantityError::new(&range.to_string(), WANTED));
        }
        Ok(range)
    }
    /// Whether the status is one of them.
    pub const fn contains(self, status: u16) -> bool {
        self.from <= status && status <= self.to
    }
}

const WANTED: &str = "a status or a range of them, such as `200` or `200-299`";

impl FromStr for StatusRange {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let number = |part: &str| {
            let digits = part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| digits).ok_or_else(|| QuantityError::new(text, WANTED))
        };
        Self::between(number(from)?, number(to)?)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.from)?;
        if self.to != self.from {
            write!(f, "-{}", self.to)?;
        }
        Ok(())
    }
}

textual!(StatusRange, "a status or a range of them, such as `200` or `200-299`", number: str::parse::<StatusRange>);
