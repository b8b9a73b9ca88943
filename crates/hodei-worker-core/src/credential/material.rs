use std::{fmt, sync::Arc};

use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// Why a text is not a secret's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError(String);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a secret's key: 1 to 255 printable characters without spaces, no part `.` or `..`",
            self.0
        )
    }
}

impl std::error::Error for KeyError {}

/// The name under which a secret is kept, parts separated by `/`: `prod/db/password`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SecretKey(Arc<str>);

impl SecretKey {
    /// Checks the text and makes a key of it.
    ///
    /// # Errors
    /// [`KeyError`] when it is empty, longer than 255 bytes, holds spaces or control characters, or has a part that
    /// is empty, `.` or `..`.
    pub fn new(text: impl AsRef<str>) -> Result<Self, KeyError> {
        let text = text.as_ref();
        let good = (1..=255).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if good { Ok(Self(text.into())) } else { Err(KeyError(text.to_owned())) }
    }
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SecretKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl fmt::Display for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bytes of a secret. Never printed, overwritten when dropped; to read them says so in the code.
///
/// # Examples
/// ```
/// use hodei_worker_core::credential::SecretMaterial;
/// let secret = SecretMaterial::from("hunter2");
/// assert_eq!(secret.expose(), b"hunter2");
/// assert!(!format!("{secret:?}").contains("hunter2"));
/// ```
#[derive(Clone)]
pub struct SecretMaterial(SecretSlice<u8>);

impl SecretMaterial {
    /// The secret itself.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
    /// The secret as text, if it is one.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(self.expose()).ok()
    }
    /// Whether both say the same. Of two of one length it takes the same time wherever they differ.
    pub fn is_same(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl From<Vec<u8>> for SecretMaterial {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for SecretMaterial {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec().into())
    }
}

impl fmt::Debug for SecretMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretMaterial([REDACTED])")
    }
}
