//! What bollard and the engine report, as the library's error. By type, code and `io::ErrorKind`, never by message.

use std::{error::Error as StdError, io};

use hodei_worker_core::{Error, ErrorKind, Retry};
use rustls::{AlertDescription, Error as TlsError};

use crate::endpoint::{Address, Endpoint};

pub(crate) type EngineError = bollard::errors::Error;
pub(crate) type EngineResult<T> = Result<T, EngineError>;

/// The HTTP status that the engine answered with, if it answered.
pub(crate) fn status(error: &EngineError) -> Option<u16> {
    match error {
        EngineError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine's own words, if it answered.
pub(crate) fn words(error: &EngineError) -> String {
    match error {
        EngineError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        other => other.to_string(),
    }
}

/// The library's error for what failed at an engine.
pub(crate) fn classify(error: EngineError, endpoint: &Endpoint) -> Error {
    let classified = match &error {
        EngineError::DockerResponseServerError { status_code, .. } => {
            let (kind, retry) = by_status(*status_code);
            return Error::new(kind, format!("the engine refuses: {}", words(&error)))
                .with_retry(retry)
                .with_context("status", status_code);
        }
        EngineError::RequestTimeoutError => {
            Error::new(ErrorKind::Timeout, "the engine did not answer in time")
                .with_retry(Retry::IfIdempotent)
        }
        EngineError::HyperLegacyError { err } if err.is_connect() => return unreachable(error, endpoint),
        EngineError::HyperLegacyError { .. }
        | EngineError::HyperResponseError { .. }
        | EngineError::IOError { .. } => match find::<TlsError>(&error) {
            // With TLS 1.3 the engine's verdict on our certificate comes after the handshake.
            Some(tls) => tls_refused(tls),
            None => Error::new(ErrorKind::Unavailable, "the connection to the engine broke")
                .with_retry(Retry::IfIdempotent),
        },
        _ => Error::new(ErrorKind::Unexpected, "the engine's answer makes no sense"),
    };
    classified.with_context("endpoint", endpoint).with_source(error)
}

fn by_status(status: u16) -> (ErrorKind, Retry) {
    match status {
        400 => (ErrorKind::Config, Retry::Never),
        401 => (ErrorKind::Unauthenticated, Retry::Never),
        403 => (ErrorKind::PermissionDenied, Retry::Never),
        404 => (ErrorKind::NotFound, Retry::Never),
        409 => (ErrorKind::Conflict, Retry::Never),
        429 => (ErrorKind::RateLimited, Retry::Safe { after: None }),
        501 => (ErrorKind::Unsupported, Retry::Never),
        502..=504 => (ErrorKind::Unavailable, Retry::IfIdempotent),
        // The engine says 500 to whatever it has no better code for, most of it passing.
        500..=599 => (ErrorKind::Unexpected, Retry::IfIdempotent),
        _ => (ErrorKind::Unexpected, Retry::Never),
    }
}

/// No connection came about: nothing was sent, so nothing was done.
fn unreachable(error: EngineError, endpoint: &Endpoint) -> Error {
    let tls = find::<TlsError>(&error);
    let kind = find::<io::Error>(&error).map(io::Error::kind);
    let safe = Retry::Safe { after: None };
    let unavailable = |message| Error::new(ErrorKind::Unavailable, message).with_retry(safe);
    let classified = match (&endpoint.address, kind) {
        _ if let Some(tls) = tls => tls_refused(tls),
        (Address::Unix(_), Some(io::ErrorKind::NotFound)) => unavailable("the engine's socket does not exist")
            .with_help(
                "is Docker installed and started (`systemctl start docker`)? If the engine is elsewhere, name it \
                 by the setting `endpoint` or by DOCKER_HOST",
            ),
        (Address::Unix(_), Some(io::ErrorKind::PermissionDenied)) => {
            Error::new(ErrorKind::PermissionDenied, "this user may not open the engine's socket").with_help(
                "become a member of the group that owns it (`usermod -aG docker USER`, then log in again), or use \
                 a rootless engine; members of that group have root's rights",
            )
        }
        (Address::Unix(_), Some(io::ErrorKind::ConnectionRefused)) => {
            unavailable("the engine's socket is there, but no engine listens on it").with_help(
                "the engine has died or was not stopped cleanly: see `journalctl -u docker`, and start it again",
            )
        }
        (Address::Tcp { .. }, Some(io::ErrorKind::ConnectionRefused)) => {
            unavailable("no engine listens at this address").with_help(
                "is the engine started, and with `-H tcp://…`? Engines with TLS listen on port 2376 by custom",
            )
        }
        (_, Some(io::ErrorKind::TimedOut)) => {
            unavailable("the engine cannot be reached: no connection came about in time")
                .with_help("is the address right, and does a firewall let it through?")
        }
        _ => unavailable("the engine cannot be reached").with_help("is the address right?"),
    };
    let classified = classified.with_context("endpoint", endpoint).with_context("named by", &endpoint.source);
    classified.with_source(error)
}

fn tls_refused(error: &TlsError) -> Error {
    match error {
        TlsError::InvalidCertificate(_) => Error::new(
            ErrorKind::Unauthenticated,
            "the engine's certificate is not to be trusted",
        )
        .with_help(
            "`tls.ca` must hold the authority that signed it, and the certificate must name the address that \
                 `endpoint` names",
        ),
        TlsError::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => Error::new(ErrorKind::Unauthenticated, "the engine does not accept our certificate").with_help(
            "`tls.cert` and `tls.key` must hold a client certificate that the engine's CA has signed",
        ),
        TlsError::InvalidMessage(_) => Error::new(ErrorKind::Config, "what listens there does not speak TLS")
            .with_help("leave `tls` out, or name the engine's port for TLS"),
        _ => Error::new(ErrorKind::Unavailable, "no encrypted connection to the engine came about"),
    }
}

/// The first error of that type among the causes; an `io::Error` hides the one that it wraps from `source`.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    // bollard's wrappers of these two are transparent: their source is the source of what they wrap.
    let mut next: Option<&(dyn StdError + 'static)> = match error.downcast_ref() {
        Some(EngineError::IOError { err }) => Some(err),
        Some(EngineError::HyperResponseError { err }) => Some(err),
        _ => Some(error),
    };
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

    fn endpoint() -> Endpoint {
        Endpoint {
            address: Address::parse("tcp://h:1").expect("an address"),
            tls: None,
            source: "endpoint".to_owned(),
        }
    }

    fn answer(status_code: u16) -> Error {
        let error = EngineError::DockerResponseServerError { status_code, message: "so it is\n".to_owned() };
        classify(error, &endpoint())
    }

    #[test]
    fn p6_the_status_decides_the_kind_and_the_retry() {
        for (status, kind, retryable) in [
            (400, ErrorKind::Config, false),
            (401, ErrorKind::Unauthenticated, false),
            (403, ErrorKind::PermissionDenied, false),
            (404, ErrorKind::NotFound, false),
            (409, ErrorKind::Conflict, false),
            (429, ErrorKind::RateLimited, true),
            (500, ErrorKind::Unexpected, true),
            (501, ErrorKind::Unsupported, false),
            (503, ErrorKind::Unavailable, true),
        ] {
            let error = answer(status);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{status}");
            assert!(error.to_string().contains("so it is"), "{error}");
        }
    }

    #[test]
    fn d1_a_tls_failure_is_found_inside_an_io_error() {
        let tls = TlsError::AlertReceived(AlertDescription::CertificateRequired);
        let error = EngineError::IOError { err: io::Error::new(io::ErrorKind::InvalidData, tls) };
        let error = classify(error, &endpoint());
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.to_string().contains("`tls.cert`"), "{error}");
    }

    #[test]
    fn p6_a_broken_connection_leaves_the_outcome_open() {
        let error =
            classify(EngineError::IOError { err: io::ErrorKind::ConnectionReset.into() }, &endpoint());
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::IfIdempotent));
    }
}
