//! Log-ins to the registries of images: where they come from, and how they reach the engine.
//!
//! They are looked up anew for each request, so that a password that was changed is used at once, and nothing of them is
//! kept when the request is over. What cannot be overwritten are the copies in the HTTP client's buffer of what it sent.

mod access;
mod config;
mod header;
mod helper;
mod host;
mod settings;

use std::borrow::Cow;

pub(crate) use access::Access;
pub(crate) use header::NAME as HEADER;
pub(crate) use host::{Registry, full_name};
pub(crate) use settings::validate;
pub use settings::{DockerConfig, RegistryAuth};

use secrecy::{SecretString, zeroize::Zeroize as _};
use serde::Deserialize;

/// What a registry is shown.
#[derive(Debug)]
pub(crate) enum LogIn {
    /// A user's name and password.
    Password { user: String, password: SecretString },
    /// What a registry's log-in service has given out in the place of a password.
    IdentityToken(SecretString),
    /// A token that the registry itself takes.
    RegistryToken(SecretString),
}

/// A text of a file with secrets in it: a view of the file's bytes where it can be one.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    fn as_str(&self) -> &str {
        &self.0
    }
    /// As a secret, unless it is empty.
    fn secret(&self) -> Option<SecretString> {
        (!self.0.is_empty()).then(|| SecretString::from(&*self.0))
    }
}

impl Drop for Text<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            text.zeroize();
        }
    }
}
