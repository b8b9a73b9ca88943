//! Secrets as files in memory, on the engine's machine when that is ours.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerRef,
    credential::{CredentialProvider, SecretMaterial, resolve},
    model::{InstallationId, SecretReference, SecretTarget},
};

use crate::{DockerSettings, endpoint::Endpoint};

/// Where this installation's secrets lie while its workers exist.
#[derive(Debug)]
pub(crate) struct SecretStore {
    folder: Result<PathBuf, String>,
    /// Whether users inside containers are others outside.
    remapped: AtomicBool,
}

/// One secret of a worker.
#[derive(Debug, Clone)]
pub(crate) struct SecretFile {
    reference: SecretReference,
    /// The file on the engine's machine.
    pub(crate) host: PathBuf,
    /// Where it appears inside the container.
    pub(crate) target: String,
}

impl SecretStore {
    pub(crate) fn new(settings: &DockerSettings, endpoint: &Endpoint, installation: &InstallationId) -> Self {
        let folder = if !endpoint.is_local() {
            Err("the engine is reached over the network and does not see this machine's files".to_owned())
        } else if let Some(folder) = &settings.secrets_dir {
            Ok(folder.clone())
        } else {
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            let in_memory = ["/run", "/dev/shm"].into_iter().find(|folder| is_in_memory(&mounts, folder));
            in_memory.map(|folder| Path::new(folder).join("hodei-worker")).ok_or_else(|| {
                "neither /run nor /dev/shm is held in memory; name a folder by `secrets_dir`".to_owned()
            })
        };
        let folder = folder.map(|folder| folder.join(installation.as_str()));
        Self { folder, remapped: AtomicBool::new(false) }
    }

    /// Why there are no secret files here, if there are none.
    pub(crate) fn available(&self) -> Result<(), String> {
        self.folder.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    pub(crate) fn set_remapped(&self, remapped: bool) {
        self.remapped.store(remapped, Ordering::Relaxed);
    }

    /// The files of a worker's secrets.
    pub(crate) fn files(&self, worker: &WorkerRef, secrets: &[SecretReference]) -> Result<Vec<SecretFile>> {
        let mut files = Vec::new();
        for reference in secrets {
            let SecretTarget::File { path } = &reference.target else { continue };
            let folder = self.of(worker)?;
            let host = folder.join(files.len().to_string());
            files.push(SecretFile { reference: reference.clone(), host, target: path.clone() });
        }
        Ok(files)
    }

    fn of(&self, worker: &WorkerRef) -> Result<PathBuf> {
        match &self.folder {
            // A dot cannot stand in an id.
            Ok(folder) => Ok(folder.join(format!("{}.{}", worker.id, worker.generation))),
            Err(why) => {
                Err(Error::new(ErrorKind::Unsupported, format!("there are no secret files here: {why}")))
            }
        }
    }

    /// Makes empty files for the engine to bind.
    pub(crate) async fn prepare(&self, worker: &WorkerRef, files: &[SecretFile]) -> Result<()> {
        let folder = self.of(worker)?;
        let paths: Vec<PathBuf> = files.iter().map(|file| file.host.clone()).collect();
        let shown = folder.clone();
        run(&shown, move || {
            private_folder(&folder)?;
            for path in paths {
                if !path.exists() {
                    fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o400).open(path)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Resolves the secrets and writes them, for the user that the container runs as.
    pub(crate) async fn write(
        &self,
        worker: &WorkerRef,
        files: &[SecretFile],
        user: Option<&str>,
        credentials: &dyn CredentialProvider,
    ) -> Result<()> {
        let mut resolved: Vec<(PathBuf, SecretMaterial)> = Vec::new();
        for file in files {
            resolved.push((file.host.clone(), resolve(credentials, &file.reference).await?.material));
        }
        let access = Access::for_user(user, self.remapped.load(Ordering::Relaxed));
        let folder = self.of(worker)?;
        let shown = folder.clone();
        run(&shown, move || {
            private_folder(&folder)?;
            resolved.iter().try_for_each(|(path, material)| write(path, material, access))
        })
        .await
    }

    /// Removes the worker's files.
    pub(crate) async fn remove(&self, worker: &WorkerRef) -> Result<()> {
        let Ok(folder) = self.of(worker) else { return Ok(()) };
        let shown = folder.clone();
        run(&shown, move || {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // The installation's folder goes with the last of its workers; while another has one, it is not empty.
            if let Some(installation) = folder.parent() {
                let _ = fs::remove_dir(installation);
            }
            Ok(())
        })
        .await
    }
}

/// Who may read the files. Nobody else of the host can reach them: their folder is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Mode 0400, of this user; `None`: of ours, which is the container's root.
    Owner(Option<u32>),
    /// Mode 0444: the container's user has no number that we know.
    Container,
}

impl Access {
    fn for_user(user: Option<&str>, remapped: bool) -> Self {
        let name = user.unwrap_or_default().split(':').next().unwrap_or_default();
        match name {
            _ if remapped => Self::Container,
            "" | "0" | "root" => Self::Owner(None),
            number => number.parse().map_or(Self::Container, |id| Self::Owner(Some(id))),
        }
    }
}

fn write(path: &Path, material: &SecretMaterial, access: Access) -> io::Result<()> {
    // A new file each time: the old one may be open, and must not change under its reader.
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&fresh)?;
    file.write_all(material.expose())?;
    let readable = match access {
        Access::Owner(None) => true,
        // Without root's rights the file cannot be given away.
        Access::Owner(Some(id)) => std::os::unix::fs::chown(&fresh, Some(id), None).is_ok(),
        Access::Container => false,
    };
    if !readable {
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o444))?;
    }
    fs::rename(&fresh, path)
}

fn private_folder(path: &Path) -> io::Result<()> {
    const ATTEMPTS: usize = 8;
    let mut result = Ok(());
    for _ in 0..ATTEMPTS {
        result = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        // Another worker's removal may take the parent away in between.
        if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            break;
        }
    }
    result
}

async fn run(path: &Path, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<()> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| {
        Error::new(ErrorKind::Config, "the folder for secrets cannot be used")
            .with_context("path", path.display())
            .with_help("this process must be able to write there; name another folder by `secrets_dir`")
            .with_source(error)
    })
}

/// Whether what lies below the folder is in memory, by the list of mounts.
fn is_in_memory(mounts: &str, folder: &str) -> bool {
    let mut best: Option<(&str, &str)> = None;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(at), Some(kind)) = (words.next(), words.next()) else { continue };
        let covers =
            at == "/" || folder == at || folder.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'));
        // Of two mounts on one place the later one counts.
        if covers && best.is_none_or(|(known, _)| at.len() >= known.len()) {
            best = Some((at, kind));
        }
    }
    best.is_some_and(|(_, kind)| matches!(kind, "tmpfs" | "ramfs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d7_memory_is_told_from_disk() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\ntmpfs /run/user tmpfs rw 0 0\n";
        assert!(is_in_memory(mounts, "/dev/shm"));
        assert!(!is_in_memory(mounts, "/run"));
        assert!(!is_in_memory(mounts, "/run/userland"));
    }

    #[test]
    fn d7_the_containers_user_can_read_its_secrets() {
        for (user, remapped, access) in [
            (None, false, Access::Owner(None)),
            (Some("root"), false, Access::Owner(None)),
            (Some("1000:50"), false, Access::Owner(Some(1000))),
            (Some("www"), false, Access::Container),
            (Some("0"), true, Access::Container),
        ] {
            assert_eq!(Access::for_user(user, remapped), access, "{user:?}");
        }
    }

    #[test]
    fn d7_a_secret_is_a_file_of_mode_0400() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0");
        write(&path, &"hunter2".into(), Access::Owner(None)).unwrap();
        write(&path, &"hunter3".into(), Access::Owner(None)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hunter3");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    }
}
