//! Secrets on their way to a worker: resolved at each start, kept in memory, never written down in a configuration.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};

use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerConfig,
    credential::{SecretMaterial, resolve},
    model::SecretTarget,
};

use crate::{create::maker, error, host::Host, user::Identity};

/// The variable that names the folder of secret files.
pub(crate) const FOLDER: &str = "HODEI_SECRETS_DIR";

/// A worker's secrets for one run.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    pub(crate) variables: Vec<(String, SecretMaterial)>,
    pub(crate) files: Vec<(String, SecretMaterial)>,
}

/// A folder of one attempt's own, since two hosts may try at once. Like a half creation it names its maker: when that
/// is gone before the run has begun, nobody will remove it.
pub(crate) fn folder_name(run: u64) -> String {
    format!("{run}.secrets.{:x}.{}", fastrand::u32(..), maker())
}

impl Host {
    /// Reads the secrets that a configuration refers to.
    pub(crate) async fn resolve(&self, config: &WorkerConfig) -> Result<Secrets> {
        let mut secrets = Secrets::default();
        for (n, reference) in config.secrets.iter().enumerate() {
            let material = resolve(&*self.credentials, reference).await?.material;
            match &reference.target {
                SecretTarget::Variable { name } => {
                    let text = material.expose_str().filter(|text| !text.contains('\0'));
                    if text.is_none() {
                        return Err(Error::new(
                            ErrorKind::Config,
                            "the secret is no text, as a variable must be",
                        )
                        .with_context("secret", &reference.name)
                        .with_help("have it written to a file instead"));
                    }
                    secrets.variables.push((name.clone(), material));
                }
                SecretTarget::File { path } => secrets.files.push((path.clone(), material)),
                _ => return Err(Error::config(format!("secrets[{n}].target"), "this kind is unknown here")),
            }
        }
        Ok(secrets)
    }
}

impl Secrets {
    /// Writes the files into a folder of their own that only the worker's user can open. `None` without files.
    pub(crate) fn write(&self, folder: PathBuf, identity: &Identity) -> Result<Option<PathBuf>> {
        if self.files.is_empty() {
            return Ok(None);
        }
        self.write_files(&folder, identity).map_err(|error| {
            let _ = fs::remove_dir_all(&folder);
            error::file("writing a secret file", &folder, error)
        })?;
        Ok(Some(folder))
    }

    fn write_files(&self, folder: &Path, identity: &Identity) -> std::io::Result<()> {
        let give = |path: &Path| match identity.uid.or(identity.gid) {
            Some(_) => chown(path, identity.uid, identity.gid),
            None => Ok(()),
        };
        let mut closed = DirBuilder::new();
        closed.mode(0o700);
        closed.create(folder)?;
        for (name, material) in &self.files {
            let path = folder.join(name);
            let mut parent = folder.to_owned();
            for part in Path::new(name).parent().into_iter().flat_map(Path::components) {
                parent.push(part);
                if !parent.is_dir() {
                    closed.create(&parent)?;
                    give(&parent)?;
                }
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
            file.write_all(material.expose())?;
            give(&path)?;
        }
        // Last, so that nobody else is in it while it is filled.
        give(folder)
    }
}
