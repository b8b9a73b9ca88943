//! A store of one's own: every secret encrypted under a key of its own, all of them behind one sealed manifest.

mod anchor;
mod change;
mod entry;
mod header;
mod keys;
mod load;
mod manifest;
mod provider;
mod record;
mod rekey;

use std::sync::Arc;

use hodei_worker_core::{Error, ErrorKind, model::ProviderName};

pub use anchor::{Anchor, AnchorMark, FileAnchor, HostAnchor};
pub use keys::MasterKey;
pub use provider::SimpleCredentialProvider;
pub use rekey::{ExportedCredential, ExportedVersion, SimpleVerification};

/// How a store of one's own is opened.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use hodei_credentials::{FileAnchor, MasterKey, SimpleSettings};
/// let settings = SimpleSettings::new(MasterKey::File("/etc/my-app/master.key".into()))
///     .anchored(Arc::new(FileAnchor::new("/mnt/other-disk/my-app.anchor")));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SimpleSettings {
    /// The host's name for it. Default: `simple`.
    pub name: Option<ProviderName>,
    /// The key that the secrets are encrypted under.
    pub master_key: MasterKey,
    /// The keys before it, while the store is being encrypted anew.
    pub former_keys: Vec<MasterKey>,
    /// What is kept apart from the store. Default: nothing; then a whole store that is older than it was is not told from
    /// the newest.
    pub anchor: Option<Arc<dyn Anchor>>,
}

impl SimpleSettings {
    /// Under that key.
    pub fn new(master_key: MasterKey) -> Self {
        Self { name: None, master_key, former_keys: Vec::new(), anchor: None }
    }
    /// With what is kept apart.
    #[must_use]
    pub fn anchored(mut self, anchor: Arc<dyn Anchor>) -> Self {
        self.anchor = Some(anchor);
        self
    }
    /// With a key before the present one.
    #[must_use]
    pub fn former_key(mut self, key: MasterKey) -> Self {
        self.former_keys.push(key);
        self
    }
    /// By that name in errors and metrics.
    #[must_use]
    pub fn named(mut self, name: ProviderName) -> Self {
        self.name = Some(name);
        self
    }
}

fn corrupt(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
