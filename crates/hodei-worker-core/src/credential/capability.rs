use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::CredentialKind;
use crate::error::{Error, ErrorKind, Result};

macro_rules! capabilities {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// One thing that a store of credentials can do or not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum CredentialCapability { $($(#[doc = $doc])+ $variant,)+ }

        impl CredentialCapability {
            /// Every capability.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Its name in settings and errors.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

capabilities! {
    /// Credentials of the caller's own making are stored.
    Store = "store",
    /// Versions before the newest can be read, and are listed.
    Versions = "versions",
    /// Versions have stages, which can be moved: a new one is stored as pending, and becomes the current one later.
    Stages = "stages",
    /// A store may name what it expects to be there, and is refused otherwise.
    CompareAndSet = "compare_and_set",
    /// A store that is repeated with its token makes no second version.
    Tokens = "tokens",
    /// Single versions can be deleted.
    DeleteVersion = "delete_version",
    /// Secrets may be any bytes, not text alone.
    Binary = "binary",
    /// A time from which a version is no longer good is kept with it.
    Expiry = "expiry",
    /// All credentials below a prefix are listed.
    List = "list",
    /// Changes are pushed.
    Watch = "watch",
    /// The store makes a new version by itself when it is asked to.
    Rotation = "rotation",
    /// Credentials are made for each reader and lent for a time, prolonged and taken back.
    Leases = "leases",
}

impl fmt::Display for CredentialCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a store of credentials can do.
///
/// # Examples
/// ```
/// use hodei_worker_core::credential::{CredentialCapabilities, CredentialCapability};
/// let all = CredentialCapabilities::new("1").with([CredentialCapability::Store]);
/// assert!(all.supports(CredentialCapability::Store) && !all.supports(CredentialCapability::Leases));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CredentialCapabilities {
    /// The store's version.
    pub version: String,
    /// The kinds that it keeps. Default: all.
    pub kinds: Vec<CredentialKind>,
    supported: Vec<CredentialCapability>,
    /// Why some are missing.
    reasons: BTreeMap<CredentialCapability, Cow<'static, str>>,
}

impl CredentialCapabilities {
    /// A store of that version that can do nothing yet but read.
    pub fn new(version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            kinds: CredentialKind::ALL.to_vec(),
            supported: Vec::new(),
            reasons: BTreeMap::new(),
        }
    }
    /// It can do these.
    #[must_use]
    pub fn with(mut self, capabilities: impl IntoIterator<Item = CredentialCapability>) -> Self {
        self.supported.extend(capabilities);
        self.supported.sort_unstable();
        self.supported.dedup();
        self
    }
    /// It cannot do this, for that reason.
    #[must_use]
    pub fn without(mut self, capability: CredentialCapability, why: impl Into<Cow<'static, str>>) -> Self {
        self.supported.retain(|one| *one != capability);
        self.reasons.insert(capability, why.into());
        self
    }
    /// It keeps these kinds alone.
    #[must_use]
    pub fn of_kinds(mut self, kinds: impl IntoIterator<Item = CredentialKind>) -> Self {
        self.kinds = kinds.into_iter().collect();
        self
    }

    /// Whether it can do that.
    pub fn supports(&self, capability: CredentialCapability) -> bool {
        self.supported.contains(&capability)
    }
    /// Why it cannot do that.
    pub fn reason(&self, capability: CredentialCapability) -> &str {
        self.reasons.get(&capability).map_or("this store has no such thing", |why| why)
    }
    /// Refuses what it cannot do.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], with the reason.
    pub fn require(&self, capability: CredentialCapability) -> Result<()> {
        if self.supports(capability) {
            return Ok(());
        }
        let why = self.reason(capability);
        Err(Error::new(ErrorKind::Unsupported, format!("the store cannot do `{capability}`: {why}")))
    }
}
