use serde::{Deserialize, Serialize};

/// A secret that a worker gets when it starts: where it is kept, never what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SecretReference {
    /// The key under which the credential provider keeps it.
    pub name: String,
    /// A version, where the latest will not do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A part of a credential that has several, such as `username`. Default: the secret itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// How the worker gets it.
    pub target: SecretTarget,
}

impl SecretReference {
    /// The newest version of a secret, as a file at this path inside the worker.
    pub fn file(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self::to(name, SecretTarget::File { path: path.into() })
    }
    /// The newest version of a secret, as an environment variable. A file is safer: variables are inherited,
    /// and show in `/proc` and in an engine's `inspect`.
    pub fn variable(name: impl Into<String>, variable: impl Into<String>) -> Self {
        Self::to(name, SecretTarget::Variable { name: variable.into() })
    }
    fn to(name: impl Into<String>, target: SecretTarget) -> Self {
        Self { name: name.into(), version: None, part: None, target }
    }
    /// That part of the credential.
    #[must_use]
    pub fn part(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }
    /// That version of the credential.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }
}

/// How a worker gets a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum SecretTarget {
    /// A file that its user alone can read (mode 0400), in memory rather than on a disk.
    File {
        /// Absolute path inside the worker. Where workers see the host's files (local processes), a relative
        /// path: below the folder that the variable `HODEI_SECRETS_DIR` names.
        path: String,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
    },
}
