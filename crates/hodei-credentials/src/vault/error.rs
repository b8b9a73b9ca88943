//! What servers answer and connections report, as the library's error. By status and type, never by message text.

use std::{error::Error as StdError, io, time::Duration};

use hodei_worker_core::{Error, ErrorKind, Retry};
use http::StatusCode;
use rustls::Error as TlsError;

use super::{
    address::Address,
    client::{Answer, Request},
};

/// What failed before there was an answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing was sent, so nothing was done.
    Unsent(Error),
    /// It may have been done.
    Unknown(Error),
}

impl Fault {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Unsent(error) | Self::Unknown(error) => error,
        }
    }
}

impl From<Error> for Fault {
    /// What fails on our side, before the request.
    fn from(error: Error) -> Self {
        Self::Unsent(error)
    }
}

/// The status of a node that is not in a state to answer; it has done nothing.
pub(super) fn is_out_of_order(status: StatusCode) -> bool {
    // Redirected, too far behind, secondary, cut off, not initialised, sealed, removed.
    matches!(status.as_u16(), 307 | 308 | 412 | 472..=474 | 501 | 503 | 530)
}

/// The status of a standby that has not seen yet what was written before: Vault's, and OpenBao's, which answers as if a
/// quota were used up.
pub(super) fn is_behind(status: StatusCode, was_told_how_far: bool) -> bool {
    status == StatusCode::PRECONDITION_FAILED || (status == StatusCode::TOO_MANY_REQUESTS && was_told_how_far)
}

/// The status of a failure inside a node: nobody knows whether it was done.
pub(super) fn is_open(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 504)
}

/// The error that an answer stands for.
pub(super) fn refused(answer: &Answer, request: &Request) -> Error {
    let (kind, retry, message, help) = by_status(answer.status, answer.retry_after);
    let mut error =
        Error::new(kind, message).with_retry(retry).with_context("status", answer.status.as_u16());
    error = error.with_context("path", &request.path).with_context("address", &answer.address);
    if let Some(words) = answer.words(request) {
        error = error.with_context("answer", words);
    }
    if help.is_empty() { error } else { error.with_help(help) }
}

fn by_status(status: StatusCode, after: Option<Duration>) -> (ErrorKind, Retry, &'static str, &'static str) {
    use ErrorKind as K;
    let safe = Retry::Safe { after };
    match status.as_u16() {
        400 => (K::Config, Retry::Never, "the server does not take the request", ""),
        403 => (
            K::PermissionDenied,
            Retry::Never,
            "the log-in may not do this",
            "its policies must grant it for this path; see `vault token capabilities PATH`",
        ),
        404 => (K::NotFound, Retry::Never, "there is nothing at this path", ""),
        405 => (K::Unsupported, Retry::Never, "the server has no such operation at this path", ""),
        413 => (K::Config, Retry::Never, "the credential is too large for the server", ""),
        429 => (
            K::RateLimited,
            safe,
            "a quota of requests is used up",
            "ask less often, or raise the quota (`sys/quotas/rate-limit`)",
        ),
        412 => (K::Unavailable, safe, "the node lags behind what was written", ""),
        307 | 308 | 473 | 474 => {
            (K::Unavailable, safe, "the node is a standby without an active node that it could ask", "")
        }
        472 => (
            K::Unavailable,
            safe,
            "the node belongs to a cluster that stands by for a disaster",
            "name the nodes of the primary cluster",
        ),
        501 => {
            (K::Unavailable, safe, "the server was never initialised", "`vault operator init` makes its keys")
        }
        503 => (
            K::Unavailable,
            safe,
            "the server is sealed, or under maintenance",
            "unseal it (`vault operator unseal`)",
        ),
        530 => (
            K::Unavailable,
            safe,
            "the node was removed from its cluster",
            "take its address out of the settings",
        ),
        502 | 504 => {
            (K::Unavailable, Retry::IfIdempotent, "what stands before the server cannot reach it", "")
        }
        500..=599 => (K::Unexpected, Retry::IfIdempotent, "the server failed", "its own log says more"),
        _ => (
            K::Unexpected,
            Retry::Never,
            "the server's answer makes no sense",
            "is this a Vault or an OpenBao?",
        ),
    }
}

/// An answer that cannot be read. What it says is not repeated: it may be secret.
pub(super) fn unreadable(path: &str, error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "the server's answer makes no sense")
        .with_context("path", path)
        .with_context("at", format!("line {}, column {}", error.line(), error.column()))
        .with_help("is this a Vault or an OpenBao, and the mount a key-value engine of version 2?")
}

/// What a connection came to that broke, or never came about.
pub(super) fn broken(error: hyper_util::client::legacy::Error, address: &Address) -> Fault {
    let about = |error: Error| error.with_context("address", address);
    if !error.is_connect() {
        let broke = Error::new(ErrorKind::Unavailable, "the connection to the server broke")
            .with_retry(Retry::IfIdempotent);
        return Fault::Unknown(about(broke).with_source(error));
    }
    let safe = Retry::Safe { after: None };
    let unavailable = |message| Error::new(ErrorKind::Unavailable, message).with_retry(safe);
    let classified = match (find::<TlsError>(&error), find::<io::Error>(&error).map(io::Error::kind)) {
        (Some(TlsError::InvalidCertificate(_)), _) => {
            Error::new(ErrorKind::Unauthenticated, "the server's certificate is not to be trusted").with_help(
                "`tls.ca` must hold the authority that signed it, and the certificate must name the address",
            )
        }
        (Some(TlsError::InvalidMessage(_)), _) => {
            Error::new(ErrorKind::Config, "what listens there does not speak TLS")
                .with_help("is the address `http://`, or the port another one?")
        }
        (Some(TlsError::AlertReceived(_)), _) => {
            Error::new(ErrorKind::Unauthenticated, "the server does not accept our certificate")
                .with_help("`tls.cert` and `tls.key` must hold a certificate that the server trusts")
        }
        (Some(_), _) => unavailable("no encrypted connection to the server came about"),
        (None, Some(io::ErrorKind::ConnectionRefused)) => unavailable("no server listens at this address")
            .with_help("is it started? The usual port is 8200"),
        (None, Some(io::ErrorKind::TimedOut)) => {
            unavailable("the server cannot be reached: no connection came about in time")
        }
        _ => unavailable("the server cannot be reached").with_help("is the address right?"),
    };
    Fault::Unsent(about(classified).with_source(error))
}

/// The first error of that type among the causes; an `io::Error` hides the one that it wraps from `source`.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| find::<T>(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_the_status_decides_the_kind_and_the_retry() {
        for (status, kind, retryable) in [
            (400, ErrorKind::Config, false),
            (403, ErrorKind::PermissionDenied, false),
            (404, ErrorKind::NotFound, false),
            (405, ErrorKind::Unsupported, false),
            (412, ErrorKind::Unavailable, true),
            (429, ErrorKind::RateLimited, true),
            (472, ErrorKind::Unavailable, true),
            (474, ErrorKind::Unavailable, true),
            (500, ErrorKind::Unexpected, true),
            (501, ErrorKind::Unavailable, true),
            (503, ErrorKind::Unavailable, true),
            (530, ErrorKind::Unavailable, true),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let (is, retry, ..) = by_status(status, None);
            let error = Error::new(is, "").with_retry(retry);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{status}");
        }
    }

    #[test]
    fn c2_a_pause_that_the_server_asks_for_is_handed_on() {
        let pause = Some(Duration::from_secs(7));
        let (_, retry, ..) = by_status(StatusCode::TOO_MANY_REQUESTS, pause);
        assert_eq!(retry, Retry::Safe { after: pause });
    }
}
