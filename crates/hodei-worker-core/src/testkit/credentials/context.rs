use std::sync::Arc;

use super::CredentialSubject;
use crate::{
    credential::{
        CredentialCapabilities, CredentialContent, CredentialProvider, CredentialVersion,
        DeleteCredentialOptions, RetrieveOptions, SecretKey, StoreOptions,
    },
    error::{Error, ErrorKind, Result},
    testkit::{CaseFailure, CaseResult},
};

/// What a case works with: a store, and keys that nobody else has.
pub(super) struct CredentialContext {
    pub(super) store: Arc<dyn CredentialProvider>,
    /// As another host has it; `None` where a store is for one.
    pub(super) other: Option<Arc<dyn CredentialProvider>>,
    pub(super) capabilities: Arc<CredentialCapabilities>,
    /// What the case's keys begin with.
    pub(super) prefix: String,
    content: Box<dyn Fn(&str) -> CredentialContent + Send + Sync>,
}

/// Names under which cases store.
pub(super) const NAMES: [&str; 4] = ["a", "b", "b/c", "many"];

impl CredentialContext {
    pub(super) async fn new(subject: &dyn CredentialSubject) -> Result<Self> {
        let store = subject.connect().await?;
        let other = subject.connect_again().await?;
        let capabilities = store.get_credential_capabilities().await?;
        let prefix = format!("{}suite-{:016x}/", subject.prefix(), fastrand::u64(..));
        // What a content is made like is the subject's matter; the texts of the suite are few.
        let made: Vec<(String, CredentialContent)> =
            TEXTS.iter().map(|text| ((*text).to_owned(), subject.content(text))).collect();
        let content = move |text: &str| {
            let known = made.iter().find(|(known, _)| known == text).map(|(_, content)| content.clone());
            known.unwrap_or_else(|| CredentialContent::opaque(text))
        };
        Ok(Self { store, other, capabilities, prefix, content: Box::new(content) })
    }

    pub(super) fn key(&self, name: &str) -> CaseResult<SecretKey> {
        SecretKey::new(format!("{}{name}", self.prefix)).map_err(|error| CaseFailure::new(error.to_string()))
    }

    /// A content with that secret, as the store keeps them.
    pub(super) fn content(&self, text: &str) -> CredentialContent {
        (self.content)(text)
    }

    pub(super) async fn put(&self, key: &SecretKey, text: &str) -> Result<CredentialVersion> {
        self.put_by(key, text, &StoreOptions::default()).await
    }

    pub(super) async fn put_by(
        &self,
        key: &SecretKey,
        text: &str,
        options: &StoreOptions,
    ) -> Result<CredentialVersion> {
        self.store.store_credential(key, self.content(text), options).await
    }

    /// The secret, read by these options.
    pub(super) async fn read(&self, key: &SecretKey, options: &RetrieveOptions) -> CaseResult<String> {
        let found = self.store.retrieve_credential(key, options).await?;
        let text = found.secret().expose_str().map(str::to_owned);
        text.ok_or_else(|| CaseFailure::new("the secret is no text any more"))
    }

    /// The secret is that one.
    pub(super) async fn holds(&self, key: &SecretKey, options: &RetrieveOptions, text: &str) -> CaseResult {
        let read = self.read(key, options).await?;
        match read == text {
            true => Ok(()),
            false => Err(CaseFailure::new(format!("it is `{read}` in the place of `{text}`"))),
        }
    }

    pub(super) async fn clean_up(&self) -> CaseResult {
        for name in NAMES {
            self.store.delete_credential(&self.key(name)?, &DeleteCredentialOptions::default()).await?;
        }
        Ok(())
    }
}

/// The secrets of the suite.
pub(super) const TEXTS: [&str; 5] =
    ["first-hunter2", "second-hunter2", "third-hunter2", "other-hunter2", "x"];

/// It failed, and in that way; and says nothing of a secret.
pub(super) fn failed<T>(result: Result<T>, kind: ErrorKind) -> CaseResult<Error> {
    let error = match result {
        Ok(_) => return Err(CaseFailure::new(format!("it worked, and should be {kind}"))),
        Err(error) => error,
    };
    let text = format!("{error} {error:?}");
    if text.contains("hunter2") {
        return Err(CaseFailure::new(format!("the error shows a secret: {text}")));
    }
    match error.kind() == kind {
        true => Ok(error),
        false => Err(CaseFailure::new(format!("it should be {kind}: {error:?}"))),
    }
}
