use std::{
    fmt,
    sync::{Arc, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use hodei_worker_core::{
    Clock, ConnectContext, Error, ErrorKind, Operation, ProviderInfo, Result, Timestamp,
    credential::{
        Credential, CredentialCapabilities, CredentialContent, CredentialLease, CredentialMetadata,
        CredentialProvider, CredentialStage, CredentialVersion, DeleteCredentialOptions, MoveStageOptions,
        RenewOptions, RetrieveOptions, SecretKey, StoreOptions, VersionMetadata,
    },
};
use tokio::time::Instant;

use super::{
    VaultSettings, capabilities::Features, cluster::Cluster, keeper::Keeper, kv::Kv, session::Session,
    written::WrittenLately,
};

/// Credentials in a Vault or an OpenBao. See the [module](super) for what it does and costs.
///
/// The log-in is kept alive by one task in the background, which ends with this.
pub struct VaultCredentialProvider {
    inner: Inner,
    _keeper: Keeper,
}

/// All but the task.
pub(super) struct Inner {
    pub(super) info: ProviderInfo,
    pub(super) settings: VaultSettings,
    pub(super) session: Arc<Session>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) features: RwLock<Option<Features>>,
    pub(super) written: WrittenLately,
}

impl Inner {
    pub(super) fn kv(&self) -> Kv<'_> {
        Kv { session: &self.session, mount: &self.settings.mount }
    }
}

/// How the log-in stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VaultLogin {
    /// Which log-in of this provider it is, counted from 1.
    pub number: u64,
    /// How often it was prolonged.
    pub renewals: u64,
    /// When it ends unless it is prolonged. `None`: it has no end, or none that is known.
    pub ends: Option<Timestamp>,
    /// Whether it can be prolonged.
    pub renewable: bool,
}

impl VaultCredentialProvider {
    /// The type's name in settings.
    pub const TYPE: &'static str = "vault";

    /// Looks for the active node and logs in.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) when the settings are wrong, or no key-value engine of version 2 is mounted where they
    /// say; [`Unavailable`](ErrorKind::Unavailable) when no node can be reached or all are sealed;
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) when the log-in is refused;
    /// [`Timeout`](ErrorKind::Timeout) after the context's time for connecting.
    ///
    /// # Cancel safety
    /// When dropped, the log-in may have happened; it ends by itself.
    ///
    /// # Examples
    /// ```no_run
    /// use hodei_credentials::vault::{LoginSecret, VaultAuth, VaultCredentialProvider, VaultSettings};
    /// use hodei_worker_core::ConnectContext;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let secret_id = LoginSecret::File("/run/secrets/vault-secret-id".into());
    /// let settings = VaultSettings::at(["https://vault-1:8200", "https://vault-2:8200"])
    ///     .with_auth(VaultAuth::app_role("1b7e…", secret_id));
    /// let context = ConnectContext::new("vault".parse()?, "my-app".parse()?);
    /// let store = VaultCredentialProvider::connect(settings, context).await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(settings: VaultSettings, context: ConnectContext) -> Result<Self> {
        settings.checked()?;
        let info = context.info(Self::TYPE);
        let cluster = Arc::new(Cluster::new(&settings)?);
        let session = Session::new(cluster, settings.auth.clone(), Arc::clone(&context.credentials));
        let inner = Inner {
            info: info.clone(),
            settings,
            session: Arc::new(session),
            clock: Arc::clone(&context.clock),
            features: RwLock::default(),
            written: WrittenLately::default(),
        };
        let ready = async {
            context.progress.report("looking for the active node", 10);
            inner.session.cluster.version().await?;
            context.progress.report("logging in", 50);
            inner.session.token().await?;
            inner.features().await
        };
        match tokio::time::timeout(context.connect_timeout, ready).await {
            Ok(ready) => ready.map_err(|error| error.with_provider(&info))?,
            Err(_) => {
                let error = Error::new(ErrorKind::Timeout, "the server was not ready in time");
                return Err(error.with_provider(&info));
            }
        };
        let keeper = Keeper::start(Arc::clone(&inner.session));
        Ok(Self { inner, _keeper: keeper })
    }

    /// How the log-in stands; `None` before the first one.
    pub fn login(&self) -> Option<VaultLogin> {
        let token = self.inner.session.current()?;
        let left = token.ends().map(|end| end.saturating_duration_since(Instant::now()));
        let ends = |left: Duration| self.inner.clock.now().checked_add(left).unwrap_or(Timestamp::MAX);
        Some(VaultLogin {
            number: token.generation,
            renewals: token.renewals,
            ends: left.map(ends),
            renewable: token.renewable,
        })
    }

    /// Waits until the log-in is prolonged or replaced, and tells how it stands then.
    ///
    /// # Cancel safety
    /// Waits, and nothing else.
    ///
    /// # Examples
    /// ```no_run
    /// # use hodei_credentials::vault::VaultCredentialProvider;
    /// # async fn example(store: &VaultCredentialProvider) {
    /// while let Some(login) = store.login_changed().await {
    ///     println!("log-in {} was prolonged {} times", login.number, login.renewals);
    /// }
    /// # }
    /// ```
    pub async fn login_changed(&self) -> Option<VaultLogin> {
        self.inner.session.changes().changed().await.ok()?;
        self.login()
    }

    /// The address of the active node, as far as is known.
    pub fn active(&self) -> Option<String> {
        self.inner.session.cluster.active().map(ToString::to_string)
    }

    /// An error says what was being done, where, and to which credential.
    fn about<T>(&self, result: Result<T>, operation: Operation, key: Option<&SecretKey>) -> Result<T> {
        result.map_err(|error| {
            let error = error.with_operation(operation).with_provider(&self.inner.info);
            match key {
                Some(key) => error.with_context("key", key),
                None => error,
            }
        })
    }

    /// What engines make is not ours to change.
    fn own(&self, key: &SecretKey) -> Result<()> {
        match self.inner.engine(key) {
            None => Ok(()),
            Some(path) => {
                Err(Error::new(ErrorKind::Unsupported, "an engine makes this credential for each reader")
                    .with_context("path", path))
            }
        }
    }
}

impl fmt::Debug for VaultCredentialProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultCredentialProvider")
            .field("info", &self.inner.info)
            .field("addresses", &self.inner.settings.addresses)
            .field("mount", &self.inner.settings.mount)
            .field("login", &self.login())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for VaultCredentialProvider {
    fn info(&self) -> &ProviderInfo {
        &self.inner.info
    }

    async fn get_credential_capabilities(&self) -> Result<Arc<CredentialCapabilities>> {
        let told = self.inner.capabilities().await.map(Arc::new);
        self.about(told, Operation::Capabilities, None)
    }

    async fn store_credential(
        &self,
        key: &SecretKey,
        content: CredentialContent,
        options: &StoreOptions,
    ) -> Result<CredentialVersion> {
        let stored = match self.own(key) {
            Ok(()) => self.inner.store(key, &content, options).await,
            Err(error) => Err(error),
        };
        self.about(stored, Operation::StoreCredential, Some(key))
    }

    async fn retrieve_credential(&self, key: &SecretKey, options: &RetrieveOptions) -> Result<Credential> {
        let read = match self.inner.engine(key) {
            Some(path) => self.inner.make(path, options).await,
            None => self.inner.retrieve(key, options).await,
        };
        self.about(read, Operation::RetrieveCredential, Some(key))
    }

    async fn delete_credential(&self, key: &SecretKey, options: &DeleteCredentialOptions) -> Result<()> {
        let deleted = match self.own(key) {
            Ok(()) => self.inner.delete(key, options).await,
            Err(error) => Err(error),
        };
        self.about(deleted, Operation::DeleteCredential, Some(key))
    }

    async fn list_credentials(&self, prefix: &str) -> Result<Vec<CredentialMetadata>> {
        self.about(self.inner.list(prefix).await, Operation::ListCredentials, None)
    }

    async fn list_versions(&self, key: &SecretKey) -> Result<Vec<VersionMetadata>> {
        let listed = match self.own(key) {
            Ok(()) => self.inner.versions(key).await,
            Err(error) => Err(error),
        };
        self.about(listed, Operation::ListVersions, Some(key))
    }

    async fn move_stage(
        &self,
        key: &SecretKey,
        stage: CredentialStage,
        to: &CredentialVersion,
        options: &MoveStageOptions,
    ) -> Result<()> {
        let moved = match self.own(key) {
            Ok(()) => self.inner.place(key, stage, to, options).await,
            Err(error) => Err(error),
        };
        self.about(moved, Operation::MoveStage, Some(key))
    }

    async fn renew_lease(&self, lease: &CredentialLease, options: &RenewOptions) -> Result<CredentialLease> {
        self.about(self.inner.renew(lease, options).await, Operation::RenewLease, None)
    }

    async fn revoke_lease(&self, lease: &CredentialLease) -> Result<()> {
        self.about(self.inner.revoke(lease).await, Operation::RevokeLease, None)
    }
}
