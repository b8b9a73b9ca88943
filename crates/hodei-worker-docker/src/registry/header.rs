//! The header by which an engine gets a log-in.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use bytes::Bytes;
use hodei_worker_core::{Error, ErrorKind, Result};
use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use serde::Serialize;

use super::{LogIn, Registry};
use crate::client;

/// The name of the header.
pub(crate) const NAME: &str = "x-registry-auth";

/// A log-in as engines read it.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identitytoken: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registrytoken: Option<&'a str>,
    /// Newer engines send the log-in to no other.
    serveraddress: &'a str,
}

/// A log-in as a header that no log shows, and that is overwritten when nobody needs it any more.
pub(crate) fn value(log_in: &LogIn, registry: &Registry) -> Result<HeaderValue> {
    let mut wire = Wire {
        username: None,
        password: None,
        identitytoken: None,
        registrytoken: None,
        serveraddress: registry.server(),
    };
    match log_in {
        LogIn::Password { user, password } => {
            (wire.username, wire.password) = (Some(user.as_str()), Some(password.expose_secret()));
        }
        LogIn::IdentityToken(token) => wire.identitytoken = Some(token.expose_secret()),
        LogIn::RegistryToken(token) => wire.registrytoken = Some(token.expose_secret()),
    }
    encode(&wire).ok_or_else(|| {
        Error::new(ErrorKind::Config, "the log-in cannot be sent to the engine: it is too long")
            .with_context("registry", registry)
    })
}

fn encode(wire: &Wire<'_>) -> Option<HeaderValue> {
    let plain = client::body(wire).ok()?;
    let mut text = Zeroizing::new(vec![0; base64::encoded_len(plain.len(), true)?]);
    URL_SAFE.encode_slice(&plain, &mut text).ok()?;
    // Not copied: the header holds the bytes that are overwritten at the end.
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A log-in that no registry knows: one that wants a log-in answers to it that it does.
pub(crate) fn stranger(registry: &Registry) -> Option<HeaderValue> {
    let log_in = LogIn::Password { user: "anonymous".to_owned(), password: SecretString::from("none") };
    value(&log_in, registry).ok()
}

/// What stands in base64, overwritten when it is dropped. `None` when it is no base64.
pub(crate) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = STANDARD.decode_slice(text, &mut plain).ok()?;
    plain.truncate(length);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d6_a_log_in_travels_in_a_header_that_is_not_shown() {
        let registry = Registry::of_key("registry.example:5000");
        let log_in = LogIn::Password { user: "ci".to_owned(), password: "pass\"hunter2?~".into() };
        let value = value(&log_in, &registry).unwrap();
        assert!(value.is_sensitive());
        assert!(!format!("{value:?} {log_in:?}").contains("hunter2"));
        let plain = URL_SAFE.decode(value.as_bytes()).unwrap();
        let plain: serde_json::Value = serde_json::from_slice(&plain).unwrap();
        let expected = serde_json::json!({
            "username": "ci", "password": "pass\"hunter2?~", "serveraddress": "registry.example:5000",
        });
        assert_eq!(plain, expected);
    }

    #[test]
    fn d6_tokens_are_no_passwords() {
        let hub = Registry::of_key("docker.io");
        for (log_in, name) in [
            (LogIn::IdentityToken("t".into()), "identitytoken"),
            (LogIn::RegistryToken("t".into()), "registrytoken"),
        ] {
            let plain = URL_SAFE.decode(value(&log_in, &hub).unwrap().as_bytes()).unwrap();
            let plain: serde_json::Value = serde_json::from_slice(&plain).unwrap();
            let expected = serde_json::json!({ name: "t", "serveraddress": "https://index.docker.io/v1/" });
            assert_eq!(plain, expected);
        }
    }

    #[test]
    fn d6_base64_is_read() {
        assert_eq!(decode("Y2k6cHc=").unwrap().as_slice(), b"ci:pw");
        assert!(decode("Y2k6cHc").is_none() && decode("?").is_none());
    }
}
