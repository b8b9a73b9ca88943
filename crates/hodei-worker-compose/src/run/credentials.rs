//! The contents of a project's secrets and configs, for the provider that runs it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use hodei_worker_core::{
    Error, ErrorKind, Operation, Result,
    credential::{
        Credential, CredentialCapabilities, CredentialChange, CredentialContent, CredentialLease,
        CredentialMetadata, CredentialProvider, CredentialStage, CredentialVersion, DeleteCredentialOptions,
        MoveStageOptions, RenewOptions, RetrieveOptions, RotateOptions, SecretKey, SecretMaterial,
        StoreOptions, VersionMetadata,
    },
    provider::{BoxStream, ProviderInfo},
};

use crate::{Project, model::FileObject};

/// A store of credentials that knows what stands in a project's `secrets` and `configs`, and asks another store for
/// everything else. The provider that runs the project is connected with it.
///
/// Files are read, and so are new contents of theirs, at each start of a worker. A secret that is `external` is asked of
/// the other store, by its name.
///
/// # Examples
/// ```no_run
/// use std::sync::Arc;
/// use hodei_worker_compose::{Project, ProjectCredentials, ProjectOptions};
/// use hodei_worker_core::{ConnectContext, credential::MemoryCredentialProvider};
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let project = Project::load(&ProjectOptions::from_environment())?;
/// let credentials = ProjectCredentials::new(&project, Arc::new(MemoryCredentialProvider::new()));
/// let context = ConnectContext::new("docker".parse()?, "my-app".parse()?).with_credentials(Arc::new(credentials));
/// # Ok(()) }
/// ```
pub struct ProjectCredentials {
    known: BTreeMap<String, Content>,
    others: Arc<dyn CredentialProvider>,
}

enum Content {
    File(String),
    Text(SecretMaterial),
}

/// The name by which a secret or config is asked for.
pub(super) fn key(project: &str, kind: &str, source: &str, object: &FileObject) -> String {
    if object.external { object.name.clone() } else { format!("compose/{project}/{kind}/{source}") }
}

impl ProjectCredentials {
    /// What the project says, and `others` for the rest.
    pub fn new(project: &Project, others: Arc<dyn CredentialProvider>) -> Self {
        let mut known = BTreeMap::new();
        for (kind, objects) in [("secrets", &project.secrets), ("configs", &project.configs)] {
            for (source, object) in objects {
                let content = match (&object.file, &object.content, &object.environment) {
                    (Some(file), _, _) => Content::File(file.clone()),
                    (None, Some(text), _) => Content::Text(text.as_str().into()),
                    (None, None, Some(variable)) => {
                        Content::Text(project.environment.get(variable).map_or("", String::as_str).into())
                    }
                    _ => continue,
                };
                known.insert(key(&project.name, kind, source, object), content);
            }
        }
        Self { known, others }
    }

    fn is_others(&self, key: &SecretKey, operation: Operation) -> Result<()> {
        if self.known.contains_key(key.as_str()) { Err(read_only(operation)) } else { Ok(()) }
    }
}

impl fmt::Debug for ProjectCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectCredentials").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

fn read_only(operation: Operation) -> Error {
    Error::new(ErrorKind::Unsupported, "what stands in a compose file is changed there")
        .with_operation(operation)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CredentialProvider for ProjectCredentials {
    fn info(&self) -> &ProviderInfo {
        self.others.info()
    }

    async fn get_credential_capabilities(&self) -> Result<Arc<CredentialCapabilities>> {
        self.others.get_credential_capabilities().await
    }

    async fn store_credential(
        &self,
        key: &SecretKey,
        content: CredentialContent,
        options: &StoreOptions,
    ) -> Result<CredentialVersion> {
        self.is_others(key, Operation::StoreCredential)?;
        self.others.store_credential(key, content, options).await
    }

    async fn retrieve_credential(&self, key: &SecretKey, options: &RetrieveOptions) -> Result<Credential> {
        let material = match self.known.get(key.as_str()) {
            None => return self.others.retrieve_credential(key, options).await,
            Some(Content::Text(text)) => text.clone(),
            Some(Content::File(file)) => {
                let path = file.clone();
                let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
                let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
                SecretMaterial::from(read.map_err(|error| {
                    Error::new(ErrorKind::NotFound, "the file of a secret or config cannot be read")
                        .with_operation(Operation::RetrieveCredential)
                        .with_context("file", file)
                        .with_source(error)
                })?)
            }
        };
        Ok(Credential::new(material, CredentialVersion::new("file")))
    }

    async fn rotate_credential(&self, key: &SecretKey, options: &RotateOptions) -> Result<CredentialVersion> {
        self.is_others(key, Operation::RotateCredential)?;
        self.others.rotate_credential(key, options).await
    }

    async fn delete_credential(&self, key: &SecretKey, options: &DeleteCredentialOptions) -> Result<()> {
        self.is_others(key, Operation::DeleteCredential)?;
        self.others.delete_credential(key, options).await
    }

    async fn list_credentials(&self, prefix: &str) -> Result<Vec<CredentialMetadata>> {
        self.others.list_credentials(prefix).await
    }

    async fn list_versions(&self, key: &SecretKey) -> Result<Vec<VersionMetadata>> {
        self.is_others(key, Operation::ListVersions)?;
        self.others.list_versions(key).await
    }

    async fn move_stage(
        &self,
        key: &SecretKey,
        stage: CredentialStage,
        to: &CredentialVersion,
        options: &MoveStageOptions,
    ) -> Result<()> {
        self.is_others(key, Operation::MoveStage)?;
        self.others.move_stage(key, stage, to, options).await
    }

    async fn watch_credentials(&self, prefix: &str) -> Result<BoxStream<'static, Result<CredentialChange>>> {
        self.others.watch_credentials(prefix).await
    }

    async fn renew_lease(&self, lease: &CredentialLease, options: &RenewOptions) -> Result<CredentialLease> {
        self.others.renew_lease(lease, options).await
    }

    async fn revoke_lease(&self, lease: &CredentialLease) -> Result<()> {
        self.others.revoke_lease(lease).await
    }
}
