//! Secrets on an engine that does not see our files: in volumes of the worker's own, one for each folder that they
//! appear in, filled before each start.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Error, Result, WorkerRef,
    credential::{CredentialProvider, resolve},
    model::{InstallationId, SecretReference, SecretTarget},
};

use super::Access;
use crate::{
    helper::{Entry, Filling},
    names,
};

/// A folder of a worker in which secrets appear.
#[derive(Debug, Clone)]
pub(crate) struct SecretVolume {
    /// The volume's name.
    pub(crate) name: String,
    /// The folder inside the container.
    pub(crate) target: String,
    secrets: Vec<(String, SecretReference)>,
}

/// Folders that hold more than secrets: a volume would hide what the image has there.
const SHARED: [&str; 14] = [
    "", "/app", "/boot", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var",
    "/var/lib", "/var/run",
];
/// Those in whose folders there is more than secrets, too.
const SYSTEM: [&str; 9] = ["/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"];

/// Folder and name of a file, in the one way to write them; `None` for what names no file or climbs.
fn split(path: &str) -> Option<(String, String)> {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") || path.ends_with('/') || path.ends_with("/.") {
        return None;
    }
    let file = parts.pop()?.to_owned();
    Some((parts.iter().map(|part| format!("/{part}")).collect(), file))
}

fn holds_more(folder: &str) -> bool {
    let below = |system: &&str| {
        folder.strip_prefix(*system).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    SHARED.contains(&folder) || SYSTEM.iter().any(below)
}

/// The volumes of a worker's secrets.
///
/// # Errors
/// `Config` for one that would hide a folder that holds more than secrets.
pub(crate) fn volumes(
    installation: &InstallationId,
    worker: &WorkerRef,
    secrets: &[SecretReference],
) -> Result<Vec<SecretVolume>> {
    let mut folders: BTreeMap<String, Vec<(String, SecretReference)>> = BTreeMap::new();
    for (n, secret) in secrets.iter().enumerate() {
        let SecretTarget::File { path } = &secret.target else { continue };
        let refused = |message: String| {
            Error::config(format!("secrets[{n}].target"), message)
                .with_help("put it into a folder of its own, `/run/secrets/name` for instance")
        };
        let (folder, file) =
            split(path).ok_or_else(|| refused(format!("`{path}` names no file, or climbs by `..`")))?;
        if holds_more(&folder) {
            return Err(refused(format!(
                "on an engine of another machine a folder of secrets is a volume, which would hide all else in \
                 `{}`",
                if folder.is_empty() { "/" } else { &folder }
            )));
        }
        let files = folders.entry(folder).or_default();
        if files.iter().any(|(known, _)| *known == file) {
            return Err(refused(format!("another secret is `{path}` already")));
        }
        files.push((file, secret.clone()));
    }
    let base = names::secret_volumes(installation, worker);
    let volumes = folders.into_iter().enumerate();
    Ok(volumes
        .map(|(n, (target, secrets))| SecretVolume { name: format!("{base}{n}"), target, secrets })
        .collect())
}

/// The secrets as what fills the volumes, for the user that the container runs as.
pub(crate) async fn filling(
    volumes: &[SecretVolume],
    user: Option<&str>,
    credentials: &dyn CredentialProvider,
) -> Result<Vec<Filling>> {
    let (mode, owner) = match Access::for_user(user, false) {
        Access::Owner(owner) => (0o400, owner.unwrap_or(0)),
        Access::Container => (0o444, 0),
    };
    let mut all = Vec::new();
    for volume in volumes {
        let mut entries = Vec::new();
        for (file, reference) in &volume.secrets {
            let material = resolve(credentials, reference).await?.material;
            entries.push(Entry::file(file, material, owner, mode));
        }
        // Whoever is not its user sees not even the names.
        entries.push(Entry::top(owner, 0, if mode == 0o400 { 0o500 } else { 0o555 }));
        all.push(Filling { volume: volume.name.clone(), entries });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(paths: &[&str]) -> Result<Vec<SecretVolume>> {
        let secrets: Vec<_> = paths.iter().map(|path| SecretReference::file("a/b", *path)).collect();
        volumes(&"ci".parse().unwrap(), &WorkerRef::new("a".parse().unwrap(), 2), &secrets)
    }

    #[test]
    fn d7_secrets_of_one_folder_share_a_volume() {
        let planned = planned(&["/run/secrets/b", "/srv/keys/c", "/run/secrets/a"]).unwrap();
        let names: Vec<_> =
            planned.iter().map(|volume| (volume.name.as_str(), volume.target.as_str())).collect();
        assert_eq!(
            names,
            [("hodei.ci.a.2.secrets.0", "/run/secrets"), ("hodei.ci.a.2.secrets.1", "/srv/keys")]
        );
        assert_eq!(planned[0].secrets.len(), 2);
    }

    #[test]
    fn d7_a_folder_that_holds_more_than_secrets_is_refused() {
        for path in [
            "/password",
            "/etc/password",
            "/etc/ssl/key",
            "/etc//./password",
            "//password",
            "/usr/local/x",
            "/run/x",
            "/mnt/x",
            "/app/x",
            "/srv/x",
            "/srv//x",
            "/var/run/x",
        ] {
            let error = planned(&[path]).unwrap_err();
            assert!(error.to_string().contains("hide"), "{error}");
        }
        for path in ["/keys/../etc/password", "/keys/", "/keys/.", "/"] {
            let error = planned(&[path]).unwrap_err();
            assert!(error.to_string().contains("names no file"), "{error}");
        }
        let error = planned(&["/keys/a", "/keys//a"]).unwrap_err();
        assert!(error.to_string().contains("already"), "{error}");
        let same = planned(&["/keys/a", "/keys//b", "/./keys/c"]).unwrap();
        assert_eq!((same.len(), same[0].target.as_str()), (1, "/keys"));
        assert_eq!(planned(&["/etcetera/x", "/srv/keys/x"]).unwrap().len(), 2);
    }
}
