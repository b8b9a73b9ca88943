//! Files for volumes, by a container that never runs: the engine unpacks an archive into it, and what is mounted there is
//! written to. So an image needs no programs for it, and an engine may be on another machine.

use std::{io, sync::atomic::Ordering};

use bollard::models::{
    ContainerCreateBody, ContainerCreateResponse, HostConfig, Mount, MountType, MountVolumeOptions,
};
use bytes::Bytes;
use hodei_worker_core::{Error, ErrorKind, Result, WorkerRef, credential::SecretMaterial, model::labels};
use http::Method;
use secrecy::zeroize::Zeroizing;

use crate::{
    client::{self, query},
    error::status,
    names,
    provider::Shared,
};

/// Where the volumes are mounted in it.
const PLACE: &str = "/hodei-worker";

/// What goes into one volume.
#[derive(Debug)]
pub(crate) struct Filling {
    pub(crate) volume: String,
    pub(crate) entries: Vec<Entry>,
}

/// A file of a volume, or its top folder.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `None`: the top folder.
    file: Option<(String, SecretMaterial)>,
    user: u32,
    group: u32,
    mode: u32,
}

impl Entry {
    pub(crate) fn file(name: &str, contents: SecretMaterial, user: u32, mode: u32) -> Self {
        Self { file: Some((name.to_owned(), contents)), user, group: 0, mode }
    }
    /// Whose the volume's top folder is.
    pub(crate) fn top(user: u32, group: u32, mode: u32) -> Self {
        Self { file: None, user, group, mode }
    }
}

impl Shared {
    /// Writes into volumes of the engine's. `image` is any that it has.
    pub(crate) async fn fill(&self, worker: &WorkerRef, image: &str, all: &[Filling]) -> Result<()> {
        if !self.helpers_swept.swap(true, Ordering::Relaxed)
            && let Err(error) = self.sweep_helpers().await
        {
            tracing::warn!(%error, "containers may be left that never run");
        }
        let archive = archive(all).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the archive for the volumes cannot be made").with_source(error)
        })?;
        let attempt = format!("{:016x}", fastrand::u64(..));
        let name = format!("{}.helper.{attempt}", names::container(self.installation(), worker));
        let body = client::body(&self.helper(image, all, &attempt))
            .map_err(|error| self.engine.error(error.into()))?;
        let named = query(&[("name", &name)]);
        let created = self.engine.call(Method::POST, "/containers/create", &named, Some(body)).await;
        let created: ContainerCreateResponse = created.map_err(|error| self.engine.error(error))?.value;
        let path = format!("/containers/{}/archive", created.id);
        let written = self.engine.put(&path, &query(&[("path", PLACE)]), archive).await;
        let removed = self.remove_helper(&created.id).await;
        written.map_err(|error| self.engine.error(error))?;
        removed
    }

    fn helper(&self, image: &str, all: &[Filling], attempt: &str) -> ContainerCreateBody {
        let mounts = all.iter().enumerate().map(|(n, filling)| Mount {
            typ: Some(MountType::VOLUME),
            source: Some(filling.volume.clone()),
            target: Some(format!("{PLACE}/{n}")),
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
            ..Mount::default()
        });
        let marks =
            [(labels::INSTALLATION, self.installation().to_string()), (names::HELPER, attempt.to_owned())];
        ContainerCreateBody {
            image: Some(image.to_owned()),
            // It never runs, but an image without a command would be refused.
            cmd: Some(vec!["true".to_owned()]),
            labels: Some(marks.map(|(name, value)| (name.to_owned(), value)).into()),
            host_config: Some(HostConfig {
                mounts: Some(mounts.collect()),
                network_mode: Some("none".to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    async fn remove_helper(&self, id: &str) -> Result<()> {
        // Without the volumes: they have names, and stay.
        match self.engine.command(Method::DELETE, &format!("/containers/{id}"), "?force=true").await {
            Err(error) if status(&error) != Some(404) => Err(self.engine.error(error)),
            _ => Ok(()),
        }
    }

    /// Removes the helpers that calls left which were cut off.
    async fn sweep_helpers(&self) -> Result<()> {
        /// A helper lives for some tenths of a second.
        const CUT_OFF: i64 = 600;
        let now = self.context.clock.now().as_second();
        let filters = serde_json::json!({"label": names::label_filter(self.installation(), []).into_iter()
            .chain([names::HELPER.to_owned()]).collect::<Vec<_>>()});
        for found in self.list_filtered(filters).await? {
            let old = found.created.is_some_and(|created| now.saturating_sub(created) > CUT_OFF);
            if let Some(id) = found.id.filter(|_| old) {
                self.remove_helper(&id).await?;
            }
        }
        Ok(())
    }
}

/// A tar archive, which is overwritten when nobody needs it any more.
fn archive(all: &[Filling]) -> io::Result<Bytes> {
    const BLOCK: usize = 512;
    let length = |entry: &Entry| {
        let file = entry.file.as_ref().map_or(0, |(_, contents)| contents.expose().len());
        // Two more for a name that is too long for a header.
        BLOCK * 3 + file.next_multiple_of(BLOCK)
    };
    let length: usize = all.iter().flat_map(|filling| &filling.entries).map(length).sum();
    // A buffer that grows leaves its earlier places behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 2 * BLOCK));
    let mut archive = tar::Builder::new(&mut *bytes);
    for (n, filling) in all.iter().enumerate() {
        for entry in &filling.entries {
            let mut header = tar::Header::new_gnu();
            header.set_uid(entry.user.into());
            header.set_gid(entry.group.into());
            header.set_mode(entry.mode);
            match &entry.file {
                Some((name, contents)) => {
                    header.set_size(contents.expose().len() as u64);
                    archive.append_data(&mut header, format!("{n}/{name}"), contents.expose())?;
                }
                None => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_size(0);
                    archive.append_data(&mut header, format!("{n}/"), io::empty())?;
                }
            }
        }
    }
    archive.finish()?;
    drop(archive);
    Ok(Bytes::from_owner(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d7_an_archive_is_made_without_leaving_copies() {
        let long = "x".repeat(150);
        let entries =
            vec![Entry::file(&long, SecretMaterial::from("hunter2"), 5, 0o400), Entry::top(5, 0, 0o500)];
        let made = archive(&[Filling { volume: "v".to_owned(), entries }]).unwrap();
        let mut read = tar::Archive::new(&*made);
        let names: Vec<_> = read
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap()))
            .collect();
        assert_eq!(names, [(format!("0/{long}"), 0o400), ("0/".to_owned(), 0o500)]);
    }
}
