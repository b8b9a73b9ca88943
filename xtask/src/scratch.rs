//! The folders for temporary files of all that a run starts, on a disk and in memory. They lie beside everybody's, since
//! a state folder may refuse to execute, and a socket's path is too short for one below the checkout.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::failure::{Context, Failure, Result};
use crate::site::Site;

const DISK: &str = "/tmp";
const MEMORY: &str = "/dev/shm";

/// What such a folder's name begins with: ours, and no other user's.
fn prefix() -> String {
    format!("hodei-scratch-{}-", rustix::process::geteuid().as_raw())
}

/// Where the temporary files of a checkout's run lie.
pub(crate) fn folder(hash: &str) -> PathBuf {
    Path::new(DISK).join(prefix() + hash)
}

/// Where that lies which is to be in memory; with the other files, where there is no such place.
pub(crate) fn memory(hash: &str) -> PathBuf {
    let base = if Path::new(MEMORY).is_dir() { MEMORY } else { DISK };
    Path::new(base).join(prefix() + hash)
}

/// Makes both, empty. Workers of other users pass through them; nobody else lists or writes.
pub(crate) fn prepare(site: &Site) -> Result<()> {
    for folder in [&site.scratch, &site.memory] {
        remove(folder)?;
        let made = fs::DirBuilder::new().mode(0o711).create(folder);
        made.context(format_args!("creating {}", folder.display()))?;
    }
    Ok(())
}

/// Removes it. What another user has put in its place is refused.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    let Ok(found) = fs::symlink_metadata(folder) else { return Ok(()) };
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Failure(format!("{} is not ours", folder.display())));
    }
    remove_groups(folder);
    fs::remove_dir_all(folder).context(format_args!("removing {}", folder.display()))
}

/// Those of every checkout of this user.
pub(crate) fn all() -> Vec<PathBuf> {
    let prefix = prefix();
    let entries =
        [DISK, MEMORY].into_iter().flat_map(|base| fs::read_dir(base).into_iter().flatten().flatten());
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    ours.map(|entry| entry.path()).collect()
}

/// The control groups of the installations whose state lies here; they are empty once their processes have been ended.
fn remove_groups(folder: &Path) {
    let hierarchies =
        fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let roots: Vec<_> = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]).collect();
    for installation in installations(folder, 4) {
        for root in &roots {
            crate::sweep::remove_cgroup(&root.join("hodei-worker").join(&installation));
        }
    }
}

/// The names of all installations that have a folder below `…/state/`, that deep.
fn installations(folder: &Path, depth: usize) -> Vec<String> {
    let mut names = Vec::new();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if folder.ends_with("state") {
            names.push(entry.file_name().to_string_lossy().into_owned());
        } else if depth > 0 {
            names.extend(installations(&entry.path(), depth - 1));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_is_made_empty_and_removed_with_what_it_holds() {
        let hash = format!("test{}", std::process::id());
        let site = Site { scratch: folder(&hash), memory: memory(&hash), ..Site::find().unwrap() };
        prepare(&site).unwrap();
        let state = site.scratch.join("hodei-process-t1/state/t1/workers");
        fs::create_dir_all(&state).unwrap();
        assert_eq!(installations(&site.scratch, 4), ["t1"]);
        assert!(all().contains(&site.scratch));
        prepare(&site).unwrap();
        assert_eq!(fs::read_dir(&site.scratch).unwrap().count(), 0);
        [&site.scratch, &site.memory].iter().for_each(|folder| remove(folder).unwrap());
        assert!(!site.scratch.exists() && !site.memory.exists());
    }

    #[test]
    fn what_is_no_folder_of_ours_is_left_alone() {
        let path = folder(&format!("link{}", std::process::id()));
        std::os::unix::fs::symlink("/nowhere", &path).unwrap();
        assert!(remove(&path).is_err());
        fs::remove_file(path).unwrap();
    }
}
