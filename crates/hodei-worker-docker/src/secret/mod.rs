//! Secrets as files: in memory where the engine sees our files, else in volumes of the worker's own.

pub(crate) mod remote;

use std::{
    collections::HashSet,
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerRef,
    credential::{CredentialProvider, SecretMaterial, resolve},
    model::{InstallationId, SecretReference, SecretTarget},
};

use sha2::{Digest as _, Sha256};

pub(crate) use remote::SecretVolume;

use crate::{DockerSettings, endpoint::Endpoint};

/// Files without a container for that long are nobody's.
const CUT_OFF: Duration = Duration::from_secs(600);

/// Where this installation's secrets lie while its workers exist.
#[derive(Debug)]
pub(crate) struct SecretStore {
    root: Result<Root, String>,
    installation: InstallationId,
    /// Tells engines of one installation apart.
    engine: RwLock<String>,
    /// Whether users inside containers are others outside.
    remapped: AtomicBool,
    /// Why the engine does not see this machine's files, by what it says of itself.
    elsewhere: RwLock<Option<String>>,
    /// Whether a person has said where the files go.
    chosen: bool,
    /// Whether the engine is reached by a socket of this machine.
    local: bool,
    /// Whether nobody can read on the way to it.
    confidential: bool,
}

/// A folder below which folders of ours can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Root {
    base: PathBuf,
    /// The first of ours, where anybody may make folders.
    own: Option<String>,
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

/// Where one secret, or a folder of them, appears in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    File { host: PathBuf, target: String },
    Volume { name: String, target: String },
}

/// How a worker's secrets reach it.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// As files of this machine.
    Files(Vec<SecretFile>),
    /// In volumes of the engine's.
    Volumes(Vec<SecretVolume>),
}

impl Plan {
    /// Where they appear.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        match self {
            Self::Files(files) => {
                let shown =
                    |file: &SecretFile| Shown::File { host: file.host.clone(), target: file.target.clone() };
                files.iter().map(shown).collect()
            }
            Self::Volumes(volumes) => volumes
                .iter()
                .map(|volume| Shown::Volume { name: volume.name.clone(), target: volume.target.clone() })
                .collect(),
        }
    }
    /// The files of this machine.
    pub(crate) fn files(&self) -> &[SecretFile] {
        match self {
            Self::Files(files) => files,
            Self::Volumes(_) => &[],
        }
    }
    /// The volumes of the engine's.
    pub(crate) fn volumes(&self) -> &[SecretVolume] {
        match self {
            Self::Files(_) => &[],
            Self::Volumes(volumes) => volumes,
        }
    }
}

impl SecretStore {
    pub(crate) fn new(settings: &DockerSettings, endpoint: &Endpoint, installation: &InstallationId) -> Self {
        let root = if !endpoint.is_confidential() {
            Err("the engine is reached over the network without TLS, so that whoever sits on the way could read them; \
                 set `tls`"
                .to_owned())
        } else if !endpoint.is_local() {
            Err("the engine is reached over the network and does not see this machine's files".to_owned())
        } else if let Some(folder) = &settings.secrets_dir {
            let root = Root { base: folder.clone(), own: None };
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            let shown = folder.display();
            let real = fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
            match made {
                Err(error) => Err(format!("`secrets_dir` is `{shown}`, which cannot be made: {error}")),
                Ok(()) if is_in_memory(&mounts(), &real.to_string_lossy()) => Ok(root),
                Ok(()) => Err(format!("`secrets_dir` is `{shown}`, which is not held in memory")),
            }
        } else {
            let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            let all = [Some("/run".into()), runtime, Some("/dev/shm".into())];
            first_usable(all.into_iter().flatten(), &mounts())
        };
        Self {
            root,
            installation: installation.clone(),
            engine: RwLock::default(),
            remapped: AtomicBool::new(false),
            elsewhere: RwLock::default(),
            chosen: settings.secrets_dir.is_some(),
            local: endpoint.is_local(),
            confidential: endpoint.is_confidential(),
        }
    }

    /// Why there are no secret files here, if there are none.
    pub(crate) fn available(&self) -> Result<(), String> {
        self.root().map(|_| ())
    }

    fn root(&self) -> Result<Root, String> {
        let elsewhere = self.elsewhere.read().unwrap_or_else(PoisonError::into_inner).clone();
        match elsewhere.filter(|_| !self.chosen) {
            Some(why) => Err(why),
            None => self.root.clone(),
        }
    }

    /// Takes note of the machine that the engine runs on, by its own words: a socket may lead elsewhere, from inside a
    /// container for instance, into a virtual machine, or over a tunnel.
    pub(crate) fn set_machine(&self, name: Option<&str>, kernel: Option<&str>) {
        let ours = |what: &str| fs::read_to_string(format!("/proc/sys/kernel/{what}")).unwrap_or_default();
        let why = elsewhere([(name, &ours("hostname")), (kernel, &ours("osrelease"))]);
        *self.elsewhere.write().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Takes note of the engine that the files are for, by its own id.
    pub(crate) fn set_engine(&self, id: &str) {
        let digest: String = Sha256::digest(id).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = digest;
    }

    pub(crate) fn set_remapped(&self, remapped: bool) {
        self.remapped.store(remapped, Ordering::Relaxed);
    }

    /// Whether secrets go into volumes, since the engine does not see our files, and nobody can read them on the way.
    pub(crate) fn is_remote(&self) -> bool {
        self.root().is_err() && self.engine_is_elsewhere() && self.confidential
    }

    /// Whether the engine runs on another machine, or says so.
    pub(crate) fn engine_is_elsewhere(&self) -> bool {
        !self.local || self.elsewhere.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// How a worker's secrets reach it.
    pub(crate) fn plan(&self, worker: &WorkerRef, secrets: &[SecretReference]) -> Result<Plan> {
        if self.is_remote() {
            return remote::volumes(&self.installation, worker, secrets).map(Plan::Volumes);
        }
        let mut files = Vec::new();
        for reference in secrets {
            let SecretTarget::File { path } = &reference.target else { continue };
            let host = self.of(worker)?.path().join(files.len().to_string());
            files.push(SecretFile { reference: reference.clone(), host, target: path.clone() });
        }
        Ok(Plan::Files(files))
    }

    fn of(&self, worker: &WorkerRef) -> Result<Folder> {
        let root = self.root().map_err(|why| {
            let error = Error::new(ErrorKind::Unsupported, format!("there are no secret files here: {why}"));
            if self.confidential { error } else { error.with_help("set `tls`") }
        })?;
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        // A dot cannot stand in an id.
        let ours =
            [format!("{}.{engine}", self.installation), format!("{}.{}", worker.id, worker.generation)];
        Ok(Folder { base: root.base, levels: root.own.into_iter().chain(ours).collect() })
    }

    /// Makes empty files for the engine to bind. Returns whether there were none of the worker before.
    pub(crate) async fn prepare(&self, worker: &WorkerRef, files: &[SecretFile]) -> Result<bool> {
        let folder = self.of(worker)?;
        let paths: Vec<PathBuf> = files.iter().map(|file| file.host.clone()).collect();
        let shown = folder.path();
        run(&shown, move || {
            let made = folder.make()?;
            for path in paths {
                if !path.exists() {
                    fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o400).open(path)?;
                }
            }
            // Whoever sweeps takes a folder for wanted that has changed a moment ago.
            let mark = folder.path().join("wanted");
            fs::write(&mark, [])?;
            match fs::remove_file(&mark) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            Ok(made)
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
        let shown = folder.path();
        run(&shown, move || {
            folder.make()?;
            resolved.iter().try_for_each(|(path, material)| write(path, material, access))
        })
        .await
    }

    /// Whether any worker has files here.
    pub(crate) fn is_used(&self) -> bool {
        let entries = self.installation_folder().and_then(|folder| fs::read_dir(folder.path()).ok());
        entries.is_some_and(|mut entries| entries.next().is_some())
    }

    fn installation_folder(&self) -> Option<Folder> {
        let root = self.root().ok()?;
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let ours = format!("{}.{engine}", self.installation);
        Some(Folder { base: root.base, levels: root.own.into_iter().chain([ours]).collect() })
    }

    /// Removes the files of workers that do not exist: of creations that were cut off, and of containers that somebody
    /// removed past this library. Young ones stay, since their container may just be made.
    pub(crate) async fn sweep(&self, existing: impl IntoIterator<Item = WorkerRef>) -> Result<()> {
        let Some(folder) = self.installation_folder().filter(|_| self.is_used()) else { return Ok(()) };
        let existing: HashSet<String> =
            existing.into_iter().map(|worker| format!("{}.{}", worker.id, worker.generation)).collect();
        let shown = folder.path();
        run(&shown, move || {
            folder.check()?;
            for entry in fs::read_dir(folder.path())? {
                let entry = entry?;
                let wanted = entry.file_name().to_str().is_none_or(|name| existing.contains(name));
                let age = entry.metadata().and_then(|meta| meta.modified()).map(|time| time.elapsed());
                if wanted || !matches!(age, Ok(Ok(age)) if age > CUT_OFF) {
                    continue;
                }
                match fs::remove_dir_all(entry.path()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => tracing::info!(path = %entry.path().display(), "secrets of nobody were removed"),
                }
            }
            Ok(())
        })
        .await
    }

    /// Removes the worker's files.
    pub(crate) async fn remove(&self, worker: &WorkerRef) -> Result<()> {
        let Ok(folder) = self.of(worker) else { return Ok(()) };
        let shown = folder.path();
        run(&shown, move || {
            match folder.check() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            }
            let path = folder.path();
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // The installation's folder goes with the last of its workers; while another has one, it is not empty.
            if let Some(installation) = path.parent() {
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

/// A folder with those above it that are ours.
#[derive(Debug, Clone)]
struct Folder {
    base: PathBuf,
    levels: Vec<String>,
}

impl Folder {
    fn path(&self) -> PathBuf {
        self.each().last().unwrap_or_else(|| self.base.clone())
    }

    fn each(&self) -> impl Iterator<Item = PathBuf> {
        self.levels.iter().scan(self.base.clone(), |path, level| {
            path.push(level);
            Some(path.clone())
        })
    }

    /// Makes it, with those above it. Returns whether it did not exist.
    fn make(&self) -> io::Result<bool> {
        const ATTEMPTS: usize = 8;
        let mut result = Ok(false);
        for _ in 0..ATTEMPTS {
            result = self.each().try_fold(false, |_, path| {
                let made = match fs::DirBuilder::new().mode(0o700).create(&path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    made => made.is_ok(),
                };
                is_private(&path).map(|()| made)
            });
            // Another worker's removal may take the parent away in between.
            if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::NotFound) {
                break;
            }
        }
        result
    }

    /// Whether nobody else has a hand in it.
    fn check(&self) -> io::Result<()> {
        self.each().try_for_each(|path| is_private(&path))
    }
}

/// Refuses what another user may have put there: a link, a folder of theirs or one that others may open.
fn is_private(path: &Path) -> io::Result<()> {
    let seen = fs::symlink_metadata(path)?;
    let why = if !seen.is_dir() {
        "is no folder"
    } else if seen.uid() != our_user()? {
        "belongs to another user"
    } else if seen.mode() & 0o077 != 0 {
        "is open to other users"
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("`{}` {why}", path.display())))
}

fn our_user() -> io::Result<u32> {
    Ok(fs::metadata("/proc/self")?.uid())
}

/// The first folder that is in memory and takes a folder of ours, or why there is none.
fn first_usable(all: impl IntoIterator<Item = PathBuf>, mounts: &str) -> Result<Root, String> {
    let own = match our_user() {
        Ok(0) => "hodei-worker".to_owned(),
        // Users do not get into each other's way.
        Ok(user) => format!("hodei-worker-{user}"),
        Err(error) => return Err(format!("our own user is not known: {error}")),
    };
    let mut reasons = Vec::new();
    for base in all {
        if !base.is_absolute() || !is_in_memory(mounts, &base.to_string_lossy()) {
            reasons.push(format!("`{}` is not held in memory", base.display()));
            continue;
        }
        match (Folder { base: base.clone(), levels: vec![own.clone()] }).make() {
            Ok(_) => return Ok(Root { base, own: Some(own) }),
            Err(error) => reasons.push(format!("below `{}` no folder can be made: {error}", base.display())),
        }
    }
    Err(format!("{}; name a folder by `secrets_dir`", reasons.join(", ")))
}

async fn run<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| {
        Error::new(ErrorKind::Config, "the folder for secrets cannot be used")
            .with_context("path", path.display())
            .with_help("this process must be able to write there; name another folder by `secrets_dir`")
            .with_source(error)
    })
}

/// Why a machine is not ours, by its name and kernel, theirs and ours; what it does not say is no reason.
fn elsewhere(each: [(Option<&str>, &str); 2]) -> Option<String> {
    let differs = |(theirs, ours): &(Option<&str>, &str)| {
        theirs.is_some_and(|theirs| !theirs.is_empty() && theirs != ours.trim())
    };
    let (theirs, ours) = each.into_iter().find(differs)?;
    Some(format!(
        "the engine runs on `{}` and we on `{}`, so that it does not see our files; if it does, name a folder that \
         both see by `secrets_dir`",
        theirs.unwrap_or_default(),
        ours.trim()
    ))
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap_or_default()
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
mod tests;
