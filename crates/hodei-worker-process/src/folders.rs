//! Where an installation's folders lie by default, and making them.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use hodei_worker_core::{Error, ErrorKind, Result};

use crate::{
    error,
    layout::{FLAT, Layout},
    settings::ProcessSettings,
};

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The folder in which all installations keep their state.
pub(crate) fn state(settings: &ProcessSettings) -> PathBuf {
    if let Some(path) = &settings.state_dir {
        return path.clone();
    }
    if is_root() {
        return "/run/hodei-worker".into();
    }
    match variable("XDG_RUNTIME_DIR") {
        Some(runtime) => runtime.join("hodei-worker"),
        None => std::env::temp_dir().join(format!("hodei-worker-{}", rustix::process::geteuid().as_raw())),
    }
}

/// The folder in which all installations keep their logs.
pub(crate) fn logs(settings: &ProcessSettings) -> PathBuf {
    if let Some(path) = &settings.log_dir {
        return path.clone();
    }
    if is_root() {
        return "/var/lib/hodei-worker".into();
    }
    variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .map_or_else(|| state(settings).join("logs"), |path| path.join("hodei-worker"))
}

/// Makes the state folders of an installation. Others may pass through them, since a worker of another user reads its
/// secrets below, but list and read nothing.
pub(crate) fn prepare(base: &Path, installation: &str) -> Result<Layout> {
    make(base, true)?;
    let own = fs::metadata(base).map_err(|error| error::file("reading the state folder", base, error))?;
    if own.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            "the state folder belongs to another user, who could change what workers run",
        )
        .with_context("path", base.display())
        .with_help("name a folder of your own in the setting `state_dir`"));
    }
    let layout = Layout::new(base.join(installation));
    make(layout.root(), false)?;
    for name in FLAT.into_iter().chain(["workers", "new", "trash"]) {
        make(&layout.dir(name), false)?;
    }
    Ok(layout)
}

fn make(path: &Path, recursive: bool) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(recursive).mode(0o711);
    match builder.create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error::file("making a folder", path, error))
        }
        _ => Ok(()),
    }
}
