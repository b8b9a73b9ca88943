//! Where an installation's logs lie. Their folder and that of the state are chosen apart, so one may hold the logs of
//! several states: of another session's, or of one that was lost with the machine's memory. Each has a part of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use hodei_worker_core::{Result, Timestamp};

use crate::{error, files};

/// In a folder of state: its name among the logs.
const ID: &str = "id";
/// In a folder of logs: where the state lies.
const STATE: &str = "state";

/// The folder of the logs of all workers whose state lies in `state`, below `logs`.
///
/// # Errors
/// When the state can be neither read nor written; that the logs cannot is said where output is lost.
pub(crate) fn home(logs: &Path, state: &Path) -> Result<PathBuf> {
    let path = state.join(ID);
    let failed = |error| error::file("naming the folder of logs", &path, error);
    let id = match files::get(&path).map_err(failed)? {
        Some(id) => id,
        None => {
            let id = format!("{:012x}", fastrand::u64(..) >> 16);
            // Of two hosts that begin at once, one names it.
            files::put_new(&path, &id).map_err(failed)?;
            files::get::<String>(&path).map_err(failed)?.unwrap_or(id)
        }
    };
    let home = logs.join(id);
    let _ = super::make_folder(&home);
    if !home.join(STATE).exists() {
        let _ = files::put_new(&home.join(STATE), &state);
    }
    Ok(home)
}

/// Removes the logs of lost states that nobody has written to for that long.
pub(crate) fn sweep_lost(home: &Path, keep: Duration, now: Timestamp) {
    let Some(logs) = home.parent() else { return };
    for name in files::names(logs).unwrap_or_default() {
        let folder = logs.join(&name);
        if folder == home || is_in_use(&folder, &name) {
            continue;
        }
        let written = newest(&folder).and_then(|time| Timestamp::try_from(time).ok());
        let age = written.map(|time| now.as_nanosecond().saturating_sub(time.as_nanosecond()));
        if age.is_some_and(|age| u128::try_from(age).is_ok_and(|age| age >= keep.as_nanos())) {
            let _ = files::remove_tree(&folder);
        }
    }
}

/// Whether the state of these logs is still there: then whoever uses that removes them. What is not known to be logs of
/// ours is left alone as well.
fn is_in_use(folder: &Path, name: &str) -> bool {
    match files::get::<PathBuf>(&folder.join(STATE)) {
        Ok(Some(state)) => match files::get::<String>(&state.join(ID)) {
            Ok(id) => id.as_deref() == Some(name),
            Err(_) => true,
        },
        _ => true,
    }
}

/// When something in a folder was last written.
fn newest(folder: &Path) -> Option<SystemTime> {
    let own = fs::symlink_metadata(folder).ok()?;
    let inside = fs::read_dir(folder).into_iter().flatten().flatten();
    let inside = inside.filter_map(|entry| match entry.file_type().ok()?.is_dir() {
        true => newest(&entry.path()),
        false => entry.metadata().ok()?.modified().ok(),
    });
    inside.chain(own.modified().ok()).max()
}
