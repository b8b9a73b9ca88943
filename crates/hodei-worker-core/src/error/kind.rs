use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is wrong: a setting, a configuration, an argument. Nothing was created.
    Config,
    /// What the call names does not exist.
    NotFound,
    /// It exists and differs, belongs to somebody else, or is in a state that forbids the call.
    Conflict,
    /// The provider cannot do this; its capabilities say so.
    Unsupported,
    /// Who we are is known, and may not do this.
    PermissionDenied,
    /// Who we are is not accepted.
    Unauthenticated,
    /// Too many requests; the other side asks for a pause.
    RateLimited,
    /// Our own queue for this provider is full or a shared resource is busy; later it may work.
    Overloaded,
    /// The provider has no room for this worker at present.
    Capacity,
    /// An account's limit is reached; only a person can raise it.
    QuotaExceeded,
    /// The provider cannot be reached or does not work. Says nothing about its workers.
    Unavailable,
    /// No answer in time: the outcome is unknown until it is observed.
    Timeout,
    /// We gave up ourselves, for instance at shutdown.
    Cancelled,
    /// Another owner took over; this one must not act any more.
    Fenced,
    /// Stored data does not add up.
    Corrupt,
    /// An answer that makes no sense, or a fault of this library; or a kind that a newer version knows.
    #[serde(other)]
    Unexpected,
}

impl ErrorKind {
    /// The kind in snake case, as it stands in metrics and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Unsupported => "unsupported",
            Self::PermissionDenied => "permission_denied",
            Self::Unauthenticated => "unauthenticated",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Capacity => "capacity",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Fenced => "fenced",
            Self::Corrupt => "corrupt",
            Self::Unexpected => "unexpected",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the same call may be repeated.
///
/// A provider earns anything but [`Retry::Never`] by naming the code that says so; messages do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Retry {
    /// Repeating it gives the same failure, or does harm. The default.
    #[default]
    Never,
    /// Nothing was done; it may be repeated, if the other side asked for it only `after` that time.
    Safe {
        /// The pause that the other side asked for (`Retry-After`).
        after: Option<Duration>,
    },
    /// The outcome is unknown: only what is idempotent may be repeated.
    IfIdempotent,
    /// It has been repeated as often as allowed; an outer layer must not start again.
    Exhausted,
}
