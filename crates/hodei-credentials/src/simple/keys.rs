//! Where a store's master key comes from.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use hodei_worker_core::{Error, ErrorKind, Result, credential::SecretMaterial};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use crate::crypto::{self, KEY, Key};

/// What a passphrase is stretched with (Argon2id), as RFC 9106 recommends where memory is short: 64 MiB, 3 passes, 4 lanes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;

/// Where the key is under which a store's secrets are encrypted. Whoever has it and the store has all of them.
///
/// # Examples
/// ```
/// use hodei_credentials::MasterKey;
/// let key: MasterKey = serde_json::from_str(r#"{"file": "/etc/my-app/master.key"}"#)?;
/// assert!(matches!(key, MasterKey::File(_)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum MasterKey {
    /// A file that the host's user alone can read: 32 bytes, or their 64 hexadecimal digits.
    File(PathBuf),
    /// An environment variable with 64 hexadecimal digits. Everything that runs as the host's user can read it: for tests.
    Variable(String),
    /// A file with a passphrase, that the host's user alone can read: all of it but a last end of line. It is stretched by
    /// Argon2id, which takes a tenth of a second and 64 MiB.
    PassphraseFile(PathBuf),
    /// 32 bytes that the host brings along.
    #[serde(skip)]
    Given(SecretMaterial),
    /// A passphrase that the host brings along, stretched as one of a file.
    #[serde(skip)]
    Passphrase(SecretMaterial),
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
            Self::PassphraseFile(path) => f.debug_tuple("PassphraseFile").field(path).finish(),
            Self::Given(_) => f.write_str("Given([REDACTED])"),
            Self::Passphrase(_) => f.write_str("Passphrase([REDACTED])"),
        }
    }
}

impl MasterKey {
    /// Writes a new key into that file, which must not be there, and which the host's user alone can read.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when it is there, [`ErrorKind::PermissionDenied`] or [`ErrorKind::Config`] where it cannot
    /// be written.
    ///
    /// # Examples
    /// ```no_run
    /// use hodei_credentials::MasterKey;
    /// let key = MasterKey::generate("/etc/my-app/master.key")?;
    /// # Ok::<(), hodei_worker_core::Error>(())
    /// ```
    pub fn generate(path: impl Into<PathBuf>) -> Result<Self> {
        use std::io::Write as _;
        let path = path.into();
        let key = Zeroizing::new(crypto::random::<KEY>()?);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&path).and_then(|mut file| {
            let digits: Zeroizing<String> = Zeroizing::new(hex(key.as_slice()));
            file.write_all(digits.as_bytes())?;
            file.sync_all()
        });
        match written {
            Ok(()) => Ok(Self::File(path)),
            Err(error) => Err(file_error(&path, "written", error)),
        }
    }

    /// The key. A passphrase is stretched with the store's salt.
    pub(super) fn load(&self, salt: &[u8]) -> Result<Key> {
        match self {
            Self::File(path) => {
                let bytes = read(path)?;
                from_bytes(&bytes).ok_or_else(|| {
                    malformed("the file of the master key").with_context("file", path.display())
                })
            }
            Self::Variable(name) => {
                let text = std::env::var(name).map(Zeroizing::new).map_err(|_| {
                    Error::config("master_key.variable", format!("`{name}` is not set, or is no text"))
                })?;
                from_bytes(text.as_bytes())
                    .ok_or_else(|| malformed("the variable of the master key").with_context("variable", name))
            }
            Self::Given(material) => match <[u8; KEY]>::try_from(material.expose()) {
                Ok(bytes) => Ok(Key::new(bytes)),
                Err(_) => Err(malformed("the master key")),
            },
            Self::PassphraseFile(path) => {
                let mut text = read(path)?;
                if text.ends_with(b"\n") {
                    text.pop();
                }
                stretch(&text, salt)
            }
            Self::Passphrase(material) => stretch(material.expose(), salt),
        }
    }
}

fn malformed(what: &str) -> Error {
    Error::config("master_key", format!("{what} has to be 32 bytes, or their 64 hexadecimal digits"))
}

fn from_bytes(bytes: &[u8]) -> Option<Key> {
    if let Ok(raw) = <[u8; KEY]>::try_from(bytes) {
        return Some(Key::new(raw));
    }
    let digits = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if digits.len() != 2 * KEY {
        return None;
    }
    let mut key = Key::default();
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*pair.first()?)? << 4 | digit(*pair.last()?)?;
    }
    Some(key)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text
}

fn stretch(passphrase: &[u8], salt: &[u8]) -> Result<Key> {
    if passphrase.is_empty() {
        return Err(Error::config("master_key", "the passphrase is empty"));
    }
    let wrong = |error| Error::config("master_key", format!("the passphrase cannot be used: {error}"));
    let parameters = argon2::Params::new(MEMORY_KIB, PASSES, LANES, Some(KEY)).map_err(wrong)?;
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters);
    let mut key = Key::default();
    argon2.hash_password_into(passphrase, salt, key.as_mut_slice()).map_err(wrong)?;
    Ok(key)
}

fn file_error(path: &Path, done: &str, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        std::io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
        _ => ErrorKind::Config,
    };
    Error::new(kind, format!("the file of the master key cannot be {done}"))
        .with_context("file", path.display())
        .with_source(error)
}

/// Reads a file that nobody else may read.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    use std::io::Read as _;
    let failed = |error| file_error(path, "read", error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let others = meta.mode() & 0o077;
        if others != 0 {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                format!(
                    "others may read the file of the master key: its mode is {:04o}",
                    meta.mode() & 0o7777
                ),
            )
            .with_context("file", path.display())
            .with_help("let its owner alone read it: `chmod 600`"));
        }
    }
    if !meta.is_file() || meta.len() > 4096 {
        return Err(Error::config("master_key", "it is no file, or is larger than 4 KiB")
            .with_context("file", path.display()));
    }
    // Of its whole size: one that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4097));
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // These are tests.
mod tests {
    use super::*;

    #[test]
    fn c1_a_key_is_32_bytes_or_their_digits_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = MasterKey::generate(&path).unwrap();
        let loaded = key.load(b"salt").unwrap();
        assert_eq!(*loaded, *key.load(b"another salt").unwrap());
        assert_eq!(MasterKey::generate(&path).unwrap_err().kind(), ErrorKind::Conflict);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = key.load(b"salt").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        assert!(refused.to_string().contains("0640"), "{refused}");
        let given = MasterKey::Given(loaded.to_vec().into());
        assert_eq!(*given.load(b"").unwrap(), *loaded);
        for bad in ["", "short", &"g".repeat(64)] {
            let error = MasterKey::Given(bad.into()).load(b"").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
        }
        assert!(!format!("{given:?}").contains(&hex(loaded.as_slice())));
    }

    #[test]
    fn c1_a_passphrase_gives_another_key_for_each_store() {
        let passphrase = MasterKey::Passphrase("correct horse".into());
        let key = passphrase.load(&[1; 32]).unwrap();
        assert_eq!(*key, *passphrase.load(&[1; 32]).unwrap());
        assert_ne!(*key, *passphrase.load(&[2; 32]).unwrap());
        assert_ne!(*key, *MasterKey::Passphrase("correct horsf".into()).load(&[1; 32]).unwrap());
    }
}
