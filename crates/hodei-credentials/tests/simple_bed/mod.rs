//! A store of one's own in a folder, and what can be done to it.
#![allow(dead_code)] // Each test file uses its part.

use std::{path::Path, sync::Arc};

use hodei_credentials::{Anchor, MasterKey, SimpleCredentialProvider, SimpleSettings};
use hodei_worker_core::{
    Result,
    credential::{CredentialProvider as _, CredentialVersion, RetrieveOptions, SecretKey, StoreOptions},
    store::Store,
};
use hodei_worker_store::{FileSettings, RedbStore, SledStore};

pub(crate) fn master() -> MasterKey {
    MasterKey::Given(vec![7; 32].into())
}

pub(crate) fn key(name: &str) -> SecretKey {
    SecretKey::new(name).unwrap()
}

pub(crate) async fn engine(which: &str, folder: &Path) -> Result<Arc<dyn Store>> {
    Ok(match which {
        "sled" => Arc::new(SledStore::open(folder, FileSettings::default()).await?),
        _ => Arc::new(RedbStore::open(folder, FileSettings::default()).await?),
    })
}

pub(crate) fn settings(anchor: Option<Arc<dyn Anchor>>) -> SimpleSettings {
    let settings = SimpleSettings::new(master());
    match anchor {
        Some(anchor) => settings.anchored(anchor),
        None => settings,
    }
}

pub(crate) async fn open(store: Arc<dyn Store>) -> Result<SimpleCredentialProvider> {
    SimpleCredentialProvider::open(store, settings(None)).await
}

pub(crate) async fn put(
    secrets: &SimpleCredentialProvider,
    name: &str,
    text: &str,
) -> Result<CredentialVersion> {
    secrets.store_credential(&key(name), text.into(), &StoreOptions::default()).await
}

pub(crate) async fn get(secrets: &SimpleCredentialProvider, name: &str) -> Result<String> {
    let found = secrets.retrieve_credential(&key(name), &RetrieveOptions::default()).await?;
    Ok(found.secret().expose_str().unwrap().to_owned())
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
