//! Where an engine is: the address, and how its other side is told to be the right one.

use std::{fmt, net::IpAddr, path::PathBuf, sync::Arc};

use hodei_worker_core::{Error, ErrorKind, Result};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::settings::TlsSettings;

/// An engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A TCP port; `tls` says whether the address itself asks for TLS (`https`).
    Tcp { host: String, port: u16, tls: bool },
}

impl Address {
    /// Reads `unix:///path`, `tcp://host:port`, `http://host:port` and `https://host:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.contains('@') && !text.starts_with("unix:") && !text.starts_with("ssh:") {
            // What stands before it may be a password.
            return Err(
                "an engine takes no user and password in its address; write `tcp://host:port`, and set `tls` for \
                 certificates"
                    .to_owned(),
            );
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("`{text}` has no scheme; write `unix:///path` or `tcp://host:port`"));
        };
        let (tls, port) = match scheme {
            "unix" if rest.starts_with('/') => return Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => return Err(format!("`{text}` is not an absolute path; write `unix:///path`")),
            "tcp" => (false, 2375),
            "http" => (false, 80),
            "https" => (true, 2376),
            "ssh" => {
                return Err(
                    "engines by SSH are not supported; forward the socket and name it here".to_owned()
                );
            }
            other => {
                return Err(format!(
                    "the scheme `{other}` is not supported; write `unix:///path` or `tcp://host:port`"
                ));
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            // An IPv6 address without a port ends in `]`.
            Some((host, number)) if !number.ends_with(']') => {
                (host, number.parse().map_err(|_| format!("`{number}` in `{text}` is not a port"))?)
            }
            _ => (rest, port),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains('/') {
            return Err(format!("`{text}` names no host; write `tcp://host:port`"));
        }
        Ok(Self::Tcp { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// An engine's address with what is needed to connect to it, and where both were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    pub(crate) tls: Option<TlsSettings>,
    /// `the setting endpoint`, `DOCKER_HOST`, …, for errors.
    pub(crate) source: String,
}

impl Endpoint {
    /// Whether the engine sees this machine's files: only then can secrets be handed over as files.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.address, Address::Unix(_))
    }

    /// Whether nobody can read on the way to it: by TLS, or since it does not leave this machine.
    pub(crate) fn is_confidential(&self) -> bool {
        match &self.address {
            Address::Unix(_) => true,
            Address::Tcp { host, .. } => {
                self.tls.is_some()
                    || host == "localhost"
                    || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Reads the certificates. Trusts the given authority alone: an engine gives root rights on its machine, so that the
/// world's certificate authorities have no say in which one it is.
pub(crate) fn tls_config(tls: &TlsSettings) -> Result<Arc<ClientConfig>> {
    let wrong = |field: &'static str, path: &std::path::Path, why: String| {
        Error::config(format!("tls.{field}"), why).with_context("path", path.display())
    };
    let read = |field: &'static str, path: &std::path::Path| {
        let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match found {
            Ok(found) if found.is_empty() => Err(wrong(field, path, "holds no certificate".to_owned())),
            Ok(found) => Ok(found),
            Err(error) => Err(wrong(field, path, format!("cannot be read: {error}"))),
        }
    };
    let mut roots = RootCertStore::empty();
    for certificate in read("ca", &tls.ca)? {
        roots
            .add(certificate)
            .map_err(|error| wrong("ca", &tls.ca, format!("holds an unusable certificate: {error}")))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Unexpected, "TLS cannot be set up").with_source(error))?
        .with_root_certificates(roots);
    let config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let chain = read("cert", cert)?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| wrong("key", key, format!("cannot be read: {error}")))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| wrong("cert", cert, format!("does not go with the key: {error}")))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d1_addresses_are_read() {
        for (text, shown) in [
            ("unix:///run/d.sock", "unix:///run/d.sock"),
            ("tcp://10.0.0.1", "tcp://10.0.0.1:2375"),
            ("tcp://host:99/", "tcp://host:99"),
            ("https://host", "tcp://host:2376"),
            ("tcp://[::1]:2375", "tcp://[::1]:2375"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn d7_a_way_that_others_can_read_on_is_told_from_one_that_they_cannot() {
        for (text, tls, good) in [
            ("unix:///x", false, true),
            ("tcp://127.0.0.1", false, true),
            ("tcp://[::1]:1", false, true),
            ("tcp://localhost", false, true),
            ("tcp://localhost.example", false, false),
            ("tcp://10.0.0.1", false, false),
            ("tcp://10.0.0.1", true, true),
        ] {
            let tls = tls.then(|| TlsSettings::in_folder("/x"));
            let endpoint = Endpoint { address: Address::parse(text).unwrap(), tls, source: String::new() };
            assert_eq!(endpoint.is_confidential(), good, "{text}");
        }
    }

    #[test]
    fn d1_a_wrong_address_says_what_would_be_right() {
        for text in [
            "",
            "/run/d.sock",
            "unix://run/d.sock",
            "ftp://x",
            "ssh://me@host",
            "tcp://",
            "tcp://h:x",
            "tcp://a@b",
        ] {
            let why = Address::parse(text).unwrap_err();
            assert!(!why.is_empty(), "{text}");
        }
        let why = Address::parse("https://user:hunter2@host/x").unwrap_err();
        assert!(!why.contains("hunter2") && why.contains("password"), "{why}");
        let why = Address::parse("user:hunter2@host").unwrap_err();
        assert!(!why.contains("hunter2"), "{why}");
        let why = Address::parse("https://host:hunter2@").unwrap_err();
        assert!(!why.contains("hunter2"), "{why}");
    }

    #[test]
    fn d1_a_missing_certificate_names_field_and_file() {
        let error = tls_config(&TlsSettings::in_folder("/nowhere")).unwrap_err();
        assert_eq!(error.context_value("field"), Some("tls.ca"));
        assert_eq!(error.context_value("path"), Some("/nowhere/ca.pem"));
    }
}
