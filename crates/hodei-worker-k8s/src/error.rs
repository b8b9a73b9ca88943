//! What kube and the API server report, as the library's error. By type, code and reason, never by message.

use std::{error::Error as StdError, io, time::Duration};

use hodei_worker_core::{Error, ErrorKind, Retry};
use kube::core::{Status, response::reason};
use rustls::{AlertDescription, Error as TlsError};

use crate::client::Failed;

/// The library's error for what failed at a cluster.
pub(crate) fn classify(failed: Failed, server: &str) -> Error {
    let error = match failed {
        Failed::Late => Error::new(ErrorKind::Timeout, "the API server did not answer in time")
            .with_retry(Retry::IfIdempotent),
        Failed::Kube(kube::Error::Api(status)) => return refused(&status),
        Failed::Kube(error) => transport(error),
    };
    error.with_context("server", server)
}

/// The API server has answered, and does not do it.
fn refused(status: &Status) -> Error {
    let after = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|after| *after > 0);
    let after = after.map(|seconds| Duration::from_secs(seconds.into()));
    let (kind, retry) = match (status.reason.as_str(), status.code) {
        (reason::UNAUTHORIZED, _) | (_, 401) => (ErrorKind::Unauthenticated, Retry::Never),
        (reason::FORBIDDEN, _) | (_, 403) => (ErrorKind::PermissionDenied, Retry::Never),
        (reason::NOT_FOUND, _) | (_, 404) => (ErrorKind::NotFound, Retry::Never),
        (reason::ALREADY_EXISTS | reason::CONFLICT, _) | (_, 409) => (ErrorKind::Conflict, Retry::Never),
        (reason::TOO_MANY_REQUESTS, _) | (_, 429) => (ErrorKind::RateLimited, Retry::Safe { after }),
        // It says so when it cannot do it now, before it has done anything.
        (reason::SERVER_TIMEOUT, _) => (ErrorKind::Unavailable, Retry::Safe { after }),
        (reason::TIMEOUT, _) | (_, 504) => (ErrorKind::Timeout, Retry::IfIdempotent),
        (reason::SERVICE_UNAVAILABLE, _) | (_, 502 | 503) => (ErrorKind::Unavailable, Retry::IfIdempotent),
        (reason::INVALID | reason::BAD_REQUEST | reason::REQUEST_ENTITY_TOO_LARGE, _)
        | (_, 400 | 413 | 422) => (ErrorKind::Config, Retry::Never),
        (_, 500..=599) => (ErrorKind::Unexpected, Retry::IfIdempotent),
        _ => (ErrorKind::Unexpected, Retry::Never),
    };
    let mut error = Error::new(kind, format!("the API server refuses: {}", status.message.trim()))
        .with_retry(retry)
        .with_context("status", status.code);
    if !status.reason.is_empty() {
        error = error.with_context("reason", &status.reason);
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<_> = causes.map(|cause| cause.field.as_str()).filter(|field| !field.is_empty()).collect();
    if !fields.is_empty() {
        error = error.with_context("fields", fields.join(", "));
    }
    if kind == ErrorKind::Unauthenticated {
        error = error.with_help(
            "the log-in is unknown to the cluster or has expired: log in anew, or renew the certificate",
        );
    }
    error
}

fn transport(error: kube::Error) -> Error {
    let unavailable = |message| Error::new(ErrorKind::Unavailable, message);
    if let kube::Error::SerdeError(_) = &error {
        return Error::new(ErrorKind::Unexpected, "the API server's answer makes no sense")
            .with_source(error);
    }
    if find::<kube::client::AuthError>(&error).is_some() {
        return Error::new(
            ErrorKind::Unauthenticated,
            "the kubeconfig's log-in failed before anything was sent",
        )
        .with_help("its `exec` plugin or token file does not work: try `kubectl get pods`")
        .with_source(error);
    }
    if let Some(refused) = find::<TlsError>(&error).map(tls_refused) {
        return refused.with_source(error);
    }
    let kind = find::<io::Error>(&error).map(io::Error::kind);
    let classified = match kind {
        Some(io::ErrorKind::ConnectionRefused) => {
            unavailable("no API server listens at this address").with_retry(Retry::Safe { after: None })
        }
        Some(
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::TimedOut,
        ) => unavailable("the API server cannot be reached").with_retry(Retry::IfIdempotent),
        _ => unavailable("the connection to the API server broke").with_retry(Retry::IfIdempotent),
    };
    classified.with_help("is the address right, and is the cluster up?").with_source(error)
}

/// The first error of that type among the causes.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // An `io::Error` hides the one that it wraps from `source`.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| find::<T>(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn tls_refused(error: &TlsError) -> Error {
    match error {
        TlsError::InvalidCertificate(_) => {
            Error::new(ErrorKind::Unauthenticated, "the API server's certificate is not to be trusted").with_help(
                "the kubeconfig's `certificate-authority` must be the cluster's, and the certificate must name the \
                 address that `server` names",
            )
        }
        TlsError::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => Error::new(ErrorKind::Unauthenticated, "the API server does not accept our certificate")
            .with_help("has the kubeconfig's client certificate expired, or is it another cluster's?"),
        TlsError::InvalidMessage(_) => Error::new(ErrorKind::Config, "what listens there does not speak TLS")
            .with_help("is the kubeconfig's `server` the API server's address?"),
        _ => Error::new(ErrorKind::Unavailable, "no encrypted connection to the API server came about"),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn answer(reason: &str, code: u16) -> Error {
        let status = Status::failure("so it is", reason).with_code(code);
        classify(Failed::Kube(kube::Error::Api(status.boxed())), "https://h:1")
    }

    #[test]
    fn p6_reason_and_code_decide_the_kind_and_the_retry() {
        for (reason, code, kind, retryable) in [
            ("Invalid", 422, ErrorKind::Config, false),
            ("BadRequest", 400, ErrorKind::Config, false),
            ("Unauthorized", 401, ErrorKind::Unauthenticated, false),
            ("Forbidden", 403, ErrorKind::PermissionDenied, false),
            ("NotFound", 404, ErrorKind::NotFound, false),
            ("AlreadyExists", 409, ErrorKind::Conflict, false),
            ("TooManyRequests", 429, ErrorKind::RateLimited, true),
            ("ServerTimeout", 500, ErrorKind::Unavailable, true),
            ("InternalError", 500, ErrorKind::Unexpected, true),
            ("ServiceUnavailable", 503, ErrorKind::Unavailable, true),
            ("Timeout", 504, ErrorKind::Timeout, true),
            ("", 418, ErrorKind::Unexpected, false),
        ] {
            let error = answer(reason, code);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{reason} {code}");
            assert!(error.to_string().contains("so it is"), "{error}");
        }
    }

    #[test]
    fn p6_the_servers_wish_to_wait_and_its_fields_are_told() {
        let cause = StatusCause {
            reason: "FieldValueInvalid".to_owned(),
            message: String::new(),
            field: "spec.containers[0].image".to_owned(),
        };
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: vec![cause],
            retry_after_seconds: 7,
        };
        let status = Status::failure("slowly", "TooManyRequests").with_code(429).with_details(details);
        let error = classify(Failed::Kube(kube::Error::Api(status.boxed())), "https://h:1");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(error.context_value("fields"), Some("spec.containers[0].image"));
    }
}
