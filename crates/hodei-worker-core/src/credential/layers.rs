use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::{
    Credential, CredentialCapabilities, CredentialChange, CredentialContent, CredentialLease,
    CredentialMetadata, CredentialProvider, CredentialStage, CredentialVersion, DeleteCredentialOptions,
    MoveStageOptions, RenewOptions, RetrieveOptions, RotateOptions, SecretKey, StoreOptions, VersionMetadata,
};
use crate::{
    error::Result,
    policy::{Breaker, Call, Context, Limit, Observe, Policy, PolicySettings, RetryPolicy, Timeout},
    provider::{Operation, ProviderInfo},
};

/// A store of credentials with the policies of providers around each call: it is measured, has a deadline, is tried again
/// where that is safe, is left alone while it is out of order, and is not asked too much at once.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use hodei_worker_core::{credential::{CredentialStack, MemoryCredentialProvider}, policy::PolicySettings};
/// let store = Arc::new(MemoryCredentialProvider::new());
/// let store = CredentialStack::new(store, &PolicySettings::default()).provider();
/// ```
#[derive(Debug, Clone)]
pub struct CredentialStack {
    provider: Arc<dyn CredentialProvider>,
    breaker: Breaker,
}

impl CredentialStack {
    /// The layers, outermost first.
    pub const ORDER: [&'static str; 6] = ["Observe", "Context", "RetryPolicy", "Breaker", "Limit", "Timeout"];

    /// Puts the policies around a store. Build one stack for each.
    pub fn new(store: Arc<dyn CredentialProvider>, settings: &PolicySettings) -> Self {
        let info = store.info().clone();
        let breaker = Breaker::new(&settings.breaker, &info);
        let provider = layer(Timeout::new(&settings.timeouts), store);
        let provider = layer(Limit::new(&settings.limits), provider);
        let provider = layer(breaker.clone(), provider);
        let provider = layer(RetryPolicy::new(&settings.retry), provider);
        let provider = layer(Context::new(&settings.timeouts), provider);
        let provider = layer(Observe::new(&info), provider);
        Self { provider, breaker }
    }
    /// The store with its policies.
    pub fn provider(&self) -> Arc<dyn CredentialProvider> {
        Arc::clone(&self.provider)
    }
    /// Its breaker, to look at.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }
}

fn layer(policy: impl Policy, inner: Arc<dyn CredentialProvider>) -> Arc<dyn CredentialProvider> {
    Arc::new(Layered { policy, inner })
}

/// The one place where the port is forwarded.
#[derive(Debug)]
struct Layered<P> {
    policy: P,
    inner: Arc<dyn CredentialProvider>,
}

impl<P> Layered<P> {
    fn call(&self, operation: Operation) -> Call<'_> {
        Call::new(operation, self.inner.info())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: Policy> CredentialProvider for Layered<P> {
    fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }
    async fn get_credential_capabilities(&self) -> Result<Arc<CredentialCapabilities>> {
        let call = self.call(Operation::Capabilities);
        self.policy.run(call, || self.inner.get_credential_capabilities()).await
    }
    async fn store_credential(
        &self,
        key: &SecretKey,
        content: CredentialContent,
        options: &StoreOptions,
    ) -> Result<CredentialVersion> {
        let call = self.call(Operation::StoreCredential);
        self.policy.run(call, || self.inner.store_credential(key, content.clone(), options)).await
    }
    async fn retrieve_credential(&self, key: &SecretKey, options: &RetrieveOptions) -> Result<Credential> {
        let call = self.call(Operation::RetrieveCredential);
        self.policy.run(call, || self.inner.retrieve_credential(key, options)).await
    }
    async fn rotate_credential(&self, key: &SecretKey, options: &RotateOptions) -> Result<CredentialVersion> {
        let call = self.call(Operation::RotateCredential);
        self.policy.run(call, || self.inner.rotate_credential(key, options)).await
    }
    async fn delete_credential(&self, key: &SecretKey, options: &DeleteCredentialOptions) -> Result<()> {
        let call = self.call(Operation::DeleteCredential);
        self.policy.run(call, || self.inner.delete_credential(key, options)).await
    }
    async fn list_credentials(&self, prefix: &str) -> Result<Vec<CredentialMetadata>> {
        let call = self.call(Operation::ListCredentials);
        self.policy.run(call, || self.inner.list_credentials(prefix)).await
    }
    async fn list_versions(&self, key: &SecretKey) -> Result<Vec<VersionMetadata>> {
        let call = self.call(Operation::ListVersions);
        self.policy.run(call, || self.inner.list_versions(key)).await
    }
    async fn move_stage(
        &self,
        key: &SecretKey,
        stage: CredentialStage,
        to: &CredentialVersion,
        options: &MoveStageOptions,
    ) -> Result<()> {
        let call = self.call(Operation::MoveStage);
        self.policy.run(call, || self.inner.move_stage(key, stage, to, options)).await
    }
    async fn watch_credentials(&self, prefix: &str) -> Result<BoxStream<'static, Result<CredentialChange>>> {
        let call = self.call(Operation::WatchCredentials);
        self.policy.run(call, || self.inner.watch_credentials(prefix)).await
    }
    async fn renew_lease(&self, lease: &CredentialLease, options: &RenewOptions) -> Result<CredentialLease> {
        let call = self.call(Operation::RenewLease);
        self.policy.run(call, || self.inner.renew_lease(lease, options)).await
    }
    async fn revoke_lease(&self, lease: &CredentialLease) -> Result<()> {
        let call = self.call(Operation::RevokeLease);
        self.policy.run(call, || self.inner.revoke_lease(lease)).await
    }
}
