use std::{fmt, sync::Arc};

use async_trait::async_trait;

use futures::stream::BoxStream;

use super::{
    Credential, CredentialCapabilities, CredentialChange, CredentialContent, CredentialLease,
    CredentialMetadata, CredentialStage, CredentialVersion, SecretKey, VersionMetadata,
};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    provider::{Operation, ProviderInfo},
    quantity::HumanDuration,
};

/// What a caller believes to be stored when it stores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// It does not care.
    #[default]
    Any,
    /// There is no such credential.
    Absent,
    /// This version is the newest.
    Version(CredentialVersion),
}

/// How a credential is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// What must be there. If it is not, the call is a `Conflict` and nothing is stored.
    pub expected: Expect,
    /// The stage that the version gets. Default: it becomes the current one.
    pub stage: CredentialStage,
    /// The time from which it is no longer good. Default: none.
    pub expires: Option<Timestamp>,
    /// A word of the caller's own: a repetition with the same word and the same content is the version that is there
    /// already; one with another content is a `Conflict`. Without it, each call makes a version.
    pub token: Option<String>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { expected: Expect::Any, stage: CredentialStage::Current, expires: None, token: None }
    }
}

impl StoreOptions {
    /// Stores only on top of this version.
    pub fn expecting(version: CredentialVersion) -> Self {
        Self { expected: Expect::Version(version), ..Self::default() }
    }
    /// Stores only what is not there yet.
    pub fn new_only() -> Self {
        Self { expected: Expect::Absent, ..Self::default() }
    }
    /// Stores a version that is not in use yet.
    pub fn pending() -> Self {
        Self { stage: CredentialStage::Pending, ..Self::default() }
    }
    /// Known by this word when it is repeated.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }
    /// No longer good from then on.
    #[must_use]
    pub fn expiring(mut self, at: Timestamp) -> Self {
        self.expires = Some(at);
        self
    }
}

/// A version, by its name or by its stage.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which {
    /// The one that has this stage.
    Stage(CredentialStage),
    /// This one.
    Version(CredentialVersion),
}

impl Default for Which {
    /// The current one.
    fn default() -> Self {
        Self::Stage(CredentialStage::Current)
    }
}

/// Which version of a credential is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrieveOptions {
    /// That one. Default: the current one; where a store has no stages, the newest.
    pub which: Which,
    /// Whether it is read at the store itself, whatever a cache remembers: after a log-in that failed, for instance.
    /// Default: false.
    pub fresh: bool,
}

impl RetrieveOptions {
    /// Reads this version.
    pub fn version(version: CredentialVersion) -> Self {
        Self { which: Which::Version(version), fresh: false }
    }
    /// Reads the version that has this stage.
    pub fn stage(stage: CredentialStage) -> Self {
        Self { which: Which::Stage(stage), fresh: false }
    }
    /// Past every cache.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }
}

/// How a credential is rotated by its store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotateOptions {
    /// A word by which a repetition is known, where the store takes one.
    pub token: Option<String>,
}

/// How a stage is moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoveStageOptions {
    /// The version that has the stage now. If another has it, the call is a `Conflict` and nothing is moved. Default: any.
    pub from: Option<CredentialVersion>,
}

impl MoveStageOptions {
    /// Only away from this version.
    pub fn from(version: CredentialVersion) -> Self {
        Self { from: Some(version) }
    }
}

/// How a credential is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteCredentialOptions {
    /// This version alone. Default: all of it.
    pub version: Option<CredentialVersion>,
}

impl DeleteCredentialOptions {
    /// This version alone, which must not be the current one.
    pub fn version(version: CredentialVersion) -> Self {
        Self { version: Some(version) }
    }
}

/// How a lease is prolonged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenewOptions {
    /// For how long from now. The store may grant less. Default: the store's own.
    pub by: Option<HumanDuration>,
}

/// Where secrets are kept.
///
/// Six methods are required. The others answer [`Unsupported`](crate::ErrorKind::Unsupported) unless a store has them, and
/// its [capabilities](CredentialCapabilities) say which.
///
/// # Contract
/// - Nothing that a store tells but [`Credential::content`] holds a secret: no error, no listing, no `Debug`.
/// - Every call may be repeated, save a store without a token and a rotation, and comes to the same as if it had been made
///   once. What could not be stored leaves the credential as it was.
/// - A version never changes what it says.
/// - Nothing is retried below this port.
///
/// # Wrappers
/// A type that wraps a store forwards *every* method, the optional ones too: put
/// `#[deny(clippy::missing_trait_methods)]` on the implementation.
#[async_trait]
pub trait CredentialProvider: fmt::Debug + Send + Sync + 'static {
    /// Which store it is.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::credential::*;
    /// fn name(store: &dyn CredentialProvider) -> &str {
    ///     store.info().name.as_str()
    /// }
    /// ```
    fn info(&self) -> &ProviderInfo;

    /// What it can do, as it was detected.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when it cannot be reached.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider) -> Result<()> {
    /// store.get_credential_capabilities().await?.require(CredentialCapability::Stages)
    /// # }
    /// ```
    async fn get_credential_capabilities(&self) -> Result<Arc<CredentialCapabilities>>;

    /// Stores a new version of a credential and returns it.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) when another version than the expected one is the newest, or the token is of
    /// another content; [`Config`](crate::ErrorKind::Config) with the part at fault when the content is not in the form of
    /// its kind; [`Unsupported`](crate::ErrorKind::Unsupported) when the store does not keep such.
    ///
    /// # Cancel safety
    /// When dropped, the version may be stored or not.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, key: &SecretKey) -> Result<()> {
    /// let version = store.store_credential(key, "s3cret".into(), &StoreOptions::default()).await?;
    /// store.store_credential(key, "n3w".into(), &StoreOptions::expecting(version)).await?;
    /// # Ok(()) }
    /// ```
    async fn store_credential(
        &self,
        key: &SecretKey,
        content: CredentialContent,
        options: &StoreOptions,
    ) -> Result<CredentialVersion>;

    /// Reads a credential.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such key or version, or none has the stage.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, key: &SecretKey) -> Result<()> {
    /// let credential = store.retrieve_credential(key, &RetrieveOptions::default()).await?;
    /// println!("version {}, {} bytes", credential.version, credential.secret().expose().len());
    /// # Ok(()) }
    /// ```
    async fn retrieve_credential(&self, key: &SecretKey, options: &RetrieveOptions) -> Result<Credential>;

    /// Has the store itself make a new version, where it can.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where it cannot.
    ///
    /// # Cancel safety
    /// When dropped, the rotation may have begun.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, key: &SecretKey) -> Result<()> {
    /// let version = store.rotate_credential(key, &RotateOptions::default()).await?;
    /// # Ok(()) }
    /// ```
    async fn rotate_credential(&self, key: &SecretKey, options: &RotateOptions) -> Result<CredentialVersion> {
        let _ = (key, options);
        Err(Error::unsupported(Operation::RotateCredential))
    }

    /// Deletes a credential with all its versions, or one of them. A missing one is deleted.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the store cannot be reached;
    /// [`Conflict`](crate::ErrorKind::Conflict) for the current version by itself.
    ///
    /// # Cancel safety
    /// When dropped, it may be deleted or not. Repeat it.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, key: &SecretKey) -> Result<()> {
    /// store.delete_credential(key, &DeleteCredentialOptions::default()).await
    /// # }
    /// ```
    async fn delete_credential(&self, key: &SecretKey, options: &DeleteCredentialOptions) -> Result<()>;

    /// Lists the credentials whose keys begin with `prefix`, in order.
    ///
    /// # Errors
    /// Any failure to see all of them.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider) -> Result<()> {
    /// for credential in store.list_credentials("prod/").await? {
    ///     println!("{} {}", credential.key, credential.version);
    /// }
    /// # Ok(()) }
    /// ```
    async fn list_credentials(&self, prefix: &str) -> Result<Vec<CredentialMetadata>>;

    /// The versions of a credential, the oldest first. None where there is no such credential.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the store keeps the newest alone.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, key: &SecretKey) -> Result<()> {
    /// for version in store.list_versions(key).await? {
    ///     println!("{} {:?}", version.version, version.stages);
    /// }
    /// # Ok(()) }
    /// ```
    async fn list_versions(&self, key: &SecretKey) -> Result<Vec<VersionMetadata>> {
        let _ = key;
        Err(Error::unsupported(Operation::ListVersions))
    }

    /// Gives a stage to that version. The version that was the current one becomes the previous one by it, and one that
    /// becomes the current one is pending no more.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such version;
    /// [`Conflict`](crate::ErrorKind::Conflict) when another version than the expected one has the stage.
    ///
    /// # Cancel safety
    /// When dropped, it may be moved or not. Repeat it.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, key: &SecretKey) -> Result<()> {
    /// let new = store.store_credential(key, "n3w".into(), &StoreOptions::pending()).await?;
    /// // Once it was seen to work:
    /// store.move_stage(key, CredentialStage::Current, &new, &MoveStageOptions::default()).await
    /// # }
    /// ```
    async fn move_stage(
        &self,
        key: &SecretKey,
        stage: CredentialStage,
        to: &CredentialVersion,
        options: &MoveStageOptions,
    ) -> Result<()> {
        let _ = (key, stage, to, options);
        Err(Error::unsupported(Operation::MoveStage))
    }

    /// Tells of changes to the credentials whose keys begin with `prefix`, from now on.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the store tells nobody.
    ///
    /// # Cancel safety
    /// Opens a stream, and nothing else.
    ///
    /// # Examples
    /// ```
    /// # use futures::StreamExt as _;
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider) -> Result<()> {
    /// let mut changes = store.watch_credentials("prod/").await?;
    /// while let Some(change) = changes.next().await {
    ///     println!("{:?}", change?);
    /// }
    /// # Ok(()) }
    /// ```
    async fn watch_credentials(&self, prefix: &str) -> Result<BoxStream<'static, Result<CredentialChange>>> {
        let _ = prefix;
        Err(Error::unsupported(Operation::WatchCredentials))
    }

    /// Prolongs a lease: what it is then.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when it is over or was taken back;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the store lends nothing.
    ///
    /// # Cancel safety
    /// When dropped, it may be prolonged or not. Repeat it.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, lease: &CredentialLease) -> Result<()> {
    /// let lease = store.renew_lease(lease, &RenewOptions::default()).await?;
    /// # Ok(()) }
    /// ```
    async fn renew_lease(&self, lease: &CredentialLease, options: &RenewOptions) -> Result<CredentialLease> {
        let _ = (lease, options);
        Err(Error::unsupported(Operation::RenewLease))
    }

    /// Takes a lease back: the credential is good for nothing from then on. One that is over was taken back.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the store lends nothing.
    ///
    /// # Cancel safety
    /// When dropped, it may be taken back or not. Repeat it.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, lease: &CredentialLease) -> Result<()> {
    /// store.revoke_lease(lease).await
    /// # }
    /// ```
    async fn revoke_lease(&self, lease: &CredentialLease) -> Result<()> {
        let _ = lease;
        Err(Error::unsupported(Operation::RevokeLease))
    }
}
