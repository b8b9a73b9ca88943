//! Files for volumes, by a container that never runs: the engine unpacks an archive into it, and what is mounted there is
//! written to. So an image needs no programs for it, and an engine may be on another machine.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use bollard::models::{
    ContainerCreateBody, ContainerCreateResponse, ContainerSummary, HostConfig, Mount, MountType,
    MountVolumeOptions, Volume, VolumeCreateRequest,
};
use bytes::Bytes;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerRef,
    credential::SecretMaterial,
    model::{InstallationId, Ownership},
};
use http::Method;
use secrecy::zeroize::Zeroizing;

use crate::{
    client::{self, Answer, Engine, SharedEngine, query},
    container::answered,
    error::{EngineResult, status},
    names,
    provider::Shared,
};

/// Where the volumes are mounted in it.
const PLACE: &str = "/hodei-worker";

/// So much of an archive shows whether a volume is empty.
const BEGINNING: usize = 16 << 10;

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

/// What a helper is made for. It goes on when its caller is dropped, so that no helper stays behind.
struct Work {
    engine: SharedEngine,
    installation: InstallationId,
    worker: WorkerRef,
    attempt: String,
    /// The volumes that must be the worker's own.
    secrets: Vec<String>,
    helper: Bytes,
}

impl Shared {
    /// Writes into volumes of the engine's. `image` is any that it has.
    ///
    /// # Errors
    /// `Conflict` where a volume for secrets is not the worker's.
    ///
    /// # Cancel safety
    /// It is done even if the call is dropped.
    pub(crate) async fn fill(&self, worker: &WorkerRef, image: &str, all: &[Filling]) -> Result<()> {
        let archive = archive(all).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the archive for the volumes cannot be made").with_source(error)
        })?;
        let volumes: Vec<&str> = all.iter().map(|filling| filling.volume.as_str()).collect();
        let work = self.helping(worker, image, &volumes).await?;
        let filling = Arc::clone(&self.filling).read_owned().await;
        answered(tokio::spawn(async move {
            let _filling = filling;
            work.fill(archive).await
        }))
        .await
    }

    /// Whether a volume is as the engine makes it: root's, and empty. `image` is any that it has.
    ///
    /// # Cancel safety
    /// Nothing stays behind even if the call is dropped.
    pub(crate) async fn is_untouched(&self, worker: &WorkerRef, image: &str, volume: &str) -> Result<bool> {
        let work = self.helping(worker, image, &[volume]).await?;
        let filling = Arc::clone(&self.filling).read_owned().await;
        let begin = answered(tokio::spawn(async move {
            let _filling = filling;
            work.look().await
        }));
        Ok(shows_untouched(&begin.await?))
    }

    async fn helping(&self, worker: &WorkerRef, image: &str, volumes: &[&str]) -> Result<Work> {
        if !self.helpers_swept.swap(true, Ordering::Relaxed)
            && let Err(error) = self.sweep_helpers().await
        {
            tracing::warn!(%error, "containers may be left that never run");
        }
        let attempt = format!("{:016x}", fastrand::u64(..));
        let helper = client::body(&helper(self.installation(), worker, image, volumes, &attempt))
            .map_err(|error| self.engine.error(error.into()))?;
        let reserved = names::secret_volumes(self.installation(), worker);
        let secrets = volumes.iter().filter(|name| name.starts_with(&reserved));
        Ok(Work {
            engine: Arc::clone(&self.engine),
            installation: self.installation().clone(),
            worker: worker.clone(),
            attempt,
            secrets: secrets.map(|name| (*name).to_owned()).collect(),
            helper,
        })
    }

    /// Removes a worker's helpers, so that they hold no volume of its secrets. `volumes` are the worker's; where none is
    /// for secrets there is nothing to do. Those of this process are waited for.
    pub(crate) async fn remove_helpers_of(&self, worker: &WorkerRef, volumes: &[String]) -> Result<()> {
        let reserved = names::secret_volumes(self.installation(), worker);
        if !volumes.iter().any(|name| name.starts_with(&reserved)) {
            return Ok(());
        }
        let _none_under_way = self.filling.write().await;
        for found in self.helpers(Some(worker)).await? {
            if let Some(id) = found.id {
                remove(&self.engine, &id).await?;
            }
        }
        Ok(())
    }

    /// Removes the helpers that calls left which were cut off.
    async fn sweep_helpers(&self) -> Result<()> {
        /// A helper lives for some tenths of a second.
        const CUT_OFF: i64 = 600;
        let now = self.context.clock.now().as_second();
        for found in self.helpers(None).await? {
            let old = found.created.is_some_and(|created| now.saturating_sub(created) > CUT_OFF);
            if let Some(id) = found.id.filter(|_| old) {
                remove(&self.engine, &id).await?;
            }
        }
        Ok(())
    }

    /// This installation's helpers, or those of one worker.
    async fn helpers(&self, worker: Option<&WorkerRef>) -> Result<Vec<ContainerSummary>> {
        let mark = match worker {
            Some(worker) => format!("{}={}", names::HELPER, names::helped(worker)),
            None => names::HELPER.to_owned(),
        };
        let labels = names::label_filter(self.installation(), []).into_iter().chain([mark]);
        // The label alone would bring all workers: theirs is empty.
        let filters = serde_json::json!({"label": labels.collect::<Vec<_>>(), "name": ["[.]helper[.]"]});
        let mut found = self.list_filtered(filters).await?;
        found.retain(|one| {
            names::is_helper(
                self.installation(),
                one.names.as_deref().unwrap_or_default(),
                one.labels.as_ref(),
            )
        });
        Ok(found)
    }
}

impl Work {
    async fn fill(self, archive: Bytes) -> Result<()> {
        for volume in &self.secrets {
            self.claim(volume).await?;
        }
        let engine = &self.engine;
        let id = self.make().await?;
        let path = format!("/containers/{id}/archive");
        let written = engine.put(&path, &query(&[("path", PLACE)]), archive).await;
        let removed = remove(engine, &id).await;
        written.map_err(|error| engine.error(error))?;
        removed
    }

    /// The beginning of an archive of the volumes and the folder that they are in.
    async fn look(self) -> Result<Vec<u8>> {
        let engine = &self.engine;
        let id = self.make().await?;
        let path = format!("/containers/{id}/archive");
        let begin = engine.beginning(&path, &query(&[("path", PLACE)]), BEGINNING).await;
        let removed = remove(engine, &id).await;
        let begin = begin.map_err(|error| engine.error(error))?;
        removed.map(|()| begin)
    }

    async fn make(&self) -> Result<String> {
        let name = format!("{}.helper.{}", names::container(&self.installation, &self.worker), self.attempt);
        let named = query(&[("name", &name)]);
        let body = Some(self.helper.clone());
        let created = self.engine.call(Method::POST, "/containers/create", &named, body).await;
        let created: ContainerCreateResponse = created.map_err(|error| self.engine.error(error))?.value;
        Ok(created.id)
    }

    /// Makes a volume for secrets where it is not there, and refuses one that somebody else has put there to read them.
    async fn claim(&self, volume: &str) -> Result<()> {
        let mut labels = Ownership::new(self.installation.clone(), self.worker.clone()).to_labels();
        labels.insert(names::ATTEMPT.to_owned(), self.attempt.clone());
        labels.insert(names::SECRET_VOLUME.to_owned(), "true".to_owned());
        let request = VolumeCreateRequest {
            name: Some(volume.to_owned()),
            labels: Some(labels.into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        let body = client::body(&request).map_err(|error| self.engine.error(error.into()))?;
        let made: EngineResult<Answer<Volume>> =
            self.engine.call(Method::POST, "/volumes/create", "", Some(body)).await;
        match made {
            Ok(made) if self.is_ours(&made.value) => Ok(()),
            Err(error) if status(&error) != Some(409) => Err(self.engine.error(error)),
            // 409: it exists and is made otherwise.
            _ => Err(Error::new(
                ErrorKind::Conflict,
                "the volume for the worker's secrets exists and is somebody else's",
            )
            .with_context("volume", volume)
            .with_help("find out who has made it, and remove it")),
        }
    }

    fn is_ours(&self, volume: &Volume) -> bool {
        let ownership = names::ownership(&self.installation, Some(&volume.labels));
        // With options it may be a folder of the machine.
        volume.options.is_empty() && ownership.is_some_and(|ownership| ownership.worker == self.worker)
    }
}

fn helper(
    installation: &InstallationId,
    worker: &WorkerRef,
    image: &str,
    volumes: &[&str],
    attempt: &str,
) -> ContainerCreateBody {
    let mounts = volumes.iter().enumerate().map(|(n, volume)| Mount {
        typ: Some(MountType::VOLUME),
        source: Some((*volume).to_owned()),
        target: Some(format!("{PLACE}/{n}")),
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..Mount::default()
    });
    ContainerCreateBody {
        image: Some(image.to_owned()),
        // It never runs, but an image without a command would be refused.
        cmd: Some(vec!["true".to_owned()]),
        labels: Some(names::helper_labels(installation, worker, attempt)),
        host_config: Some(HostConfig {
            mounts: Some(mounts.collect()),
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

async fn remove(engine: &Engine, id: &str) -> Result<()> {
    // With the volumes that its image declares. Those that have names stay.
    match engine.command(Method::DELETE, &format!("/containers/{id}"), "?force=true&v=true").await {
        Err(error) if status(&error) != Some(404) => Err(engine.error(error)),
        _ => Ok(()),
    }
}

/// Whether an archive shows one volume that nobody has used: it is whose the folder is that the engine has made for it
/// beside the volume, has the mode that engines give, and is empty.
fn shows_untouched(begin: &[u8]) -> bool {
    const MADE: u32 = 0o755;
    // One that breaks off shows less than there is.
    if !begin.ends_with(&[0; 1024]) {
        return false;
    }
    let mut archive = tar::Archive::new(begin);
    let Ok(entries) = archive.entries() else { return false };
    let mut headers = Vec::new();
    for entry in entries.take(3) {
        let Ok(entry) = entry else { return false };
        let header = entry.header();
        let (Ok(user), Ok(group), Ok(mode)) = (header.uid(), header.gid(), header.mode()) else {
            return false;
        };
        headers.push((user, group, mode & 0o7777));
    }
    matches!(headers[..], [(user, group, _), volume] if volume == (user, group, MADE))
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

    #[test]
    fn d3_only_a_volume_as_the_engine_makes_it_is_untouched() {
        let shown = |folders: &[(&str, u64, u32)]| {
            let mut archive = tar::Builder::new(Vec::new());
            for (path, user, mode) in folders {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                header.set_uid(*user);
                header.set_gid(0);
                header.set_mode(*mode);
                archive.append_data(&mut header, path, io::empty()).unwrap();
            }
            shows_untouched(&archive.into_inner().unwrap())
        };
        let top = ("v/", 0, 0o755);
        assert!(shown(&[top, ("v/0/", 0, 0o755)]));
        assert!(shown(&[("v/", 100_000, 0o755), ("v/0/", 100_000, 0o755)]), "root of a remapped engine");
        assert!(!shown(&[top, ("v/0/", 5, 0o755)]), "somebody's");
        assert!(!shown(&[top, ("v/0/", 0, 0o700)]), "of another mode");
        assert!(!shown(&[top, ("v/0/", 0, 0o755), ("v/0/a/", 0, 0o755)]), "not empty");
        assert!(!shown(&[top]));
        assert!(!shows_untouched(b"no archive") && !shows_untouched(&[0; 2048]));
    }
}
