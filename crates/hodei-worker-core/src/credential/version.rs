use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{CredentialContent, CredentialKind, SecretKey, SecretMaterial};
use crate::clock::Timestamp;

/// A version of a credential, as its store names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CredentialVersion(Arc<str>);

impl CredentialVersion {
    /// The version of that name.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().into())
    }
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CredentialVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a version is in its life. Of one credential, one version at most has each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CredentialStage {
    /// Made, and not in use yet.
    Pending,
    /// In use: what is read by those who ask for nothing else.
    Current,
    /// In use before that; good for as long as those need it who have it still.
    Previous,
}

impl CredentialStage {
    /// Every stage, in the order of a life.
    pub const ALL: &'static [Self] = &[Self::Pending, Self::Current, Self::Previous];
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Current => "current",
            Self::Previous => "previous",
        }
    }
}

impl fmt::Display for CredentialStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A credential that its store made for whoever asked, and takes back when its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CredentialLease {
    /// The store's name of it.
    pub id: String,
    /// When it is taken back.
    pub ends: Timestamp,
    /// Whether it can be prolonged.
    pub renewable: bool,
}

impl CredentialLease {
    /// A lease until then.
    pub fn new(id: impl Into<String>, ends: Timestamp, renewable: bool) -> Self {
        Self { id: id.into(), ends, renewable }
    }
}

/// A credential of one version.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Credential {
    /// What it says.
    pub content: CredentialContent,
    /// Its version.
    pub version: CredentialVersion,
    /// The stages that the version has, where the store tells.
    pub stages: Vec<CredentialStage>,
    /// The time from which it is no longer good, where there is one.
    pub expires: Option<Timestamp>,
    /// How long it is lent, where the store made it for this call.
    pub lease: Option<CredentialLease>,
}

impl Credential {
    /// One that does not expire.
    pub fn new(content: impl Into<CredentialContent>, version: CredentialVersion) -> Self {
        Self { content: content.into(), version, stages: Vec::new(), expires: None, lease: None }
    }
    /// The secret itself.
    pub fn secret(&self) -> &SecretMaterial {
        self.content.secret()
    }
}

/// What a listing tells of a credential: all but the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CredentialMetadata {
    /// Its key.
    pub key: SecretKey,
    /// Its newest version.
    pub version: CredentialVersion,
    /// When that version was stored.
    pub updated: Timestamp,
    /// Its kind, where the listing of the store tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CredentialKind>,
}

impl CredentialMetadata {
    /// What is told of a credential.
    pub fn new(key: SecretKey, version: CredentialVersion, updated: Timestamp) -> Self {
        Self { key, version, updated, kind: None }
    }
}

/// What is told of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VersionMetadata {
    /// The version.
    pub version: CredentialVersion,
    /// When it was stored.
    pub created: Timestamp,
    /// The stages that it has.
    #[serde(default)]
    pub stages: Vec<CredentialStage>,
    /// The time from which it is no longer good, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl VersionMetadata {
    /// A version without a stage, which does not expire.
    pub fn new(version: CredentialVersion, created: Timestamp) -> Self {
        Self { version, created, stages: Vec::new(), expires: None }
    }
}

/// What has become of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialChange {
    /// A version was stored, or stages were moved.
    Changed(SecretKey),
    /// It was deleted.
    Deleted(SecretKey),
    /// Changes were missed: anything may have become of any.
    Lost,
}
