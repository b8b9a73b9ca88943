//! Making an installation's folders.

use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use hodei_worker_core::{Error, ErrorKind, Result};

use crate::{
    error,
    layout::{FLAT, Layout},
};

/// Makes the state folders of an installation. Others may pass through them, since a worker of another user reads its
/// secrets below, but list and read nothing.
pub(crate) fn prepare(base: &Path, installation: &str) -> Result<Layout> {
    make(base, true)?;
    own(base, "state_dir")?;
    let layout = Layout::new(base.join(installation));
    make(layout.root(), false)?;
    own(layout.root(), "state_dir")?;
    for name in FLAT.into_iter().chain(["workers", "new", "trash"]) {
        make(&layout.dir(name), false)?;
        own(&layout.dir(name), "state_dir")?;
    }
    Ok(layout)
}

/// Refuses log folders into which others could write; made when there are none, as far as that goes.
pub(crate) fn prepare_logs(base: &Path, logs: &Path) -> Result<()> {
    // Where they cannot be made, output is lost, and the logs say so.
    let _ = crate::logs::make_folder(logs);
    for folder in [base, logs] {
        if fs::symlink_metadata(folder).is_ok() {
            own(folder, "log_dir")?;
        }
    }
    Ok(())
}

/// Whether this is a folder that only we can write into. One above it that everybody may write into, with the sticky
/// bit, does no harm: nobody can put another in its place.
fn own(path: &Path, setting: &'static str) -> Result<()> {
    let found =
        fs::symlink_metadata(path).map_err(|error| error::file("looking at a folder", path, error))?;
    let (why, help) = if !found.is_dir() {
        ("is not a folder itself", format!("name a folder, not a link to one, in the setting `{setting}`"))
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        ("belongs to another user", format!("name a folder of your own in the setting `{setting}`"))
    } else if found.mode() & 0o022 != 0 {
        ("is open to other users", "take the right to write from its group and from others".to_owned())
    } else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!("`{}` {why}: others could change what workers run", path.display()),
    )
    .with_context("path", path.display())
    .with_help(help))
}

fn make(path: &Path, recursive: bool) -> Result<()> {
    let made = match passable(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && recursive => {
            path.parent().map_or(Ok(()), |above| make(above, true))?;
            passable(path)
        }
        made => made,
    };
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error::file("making a folder", path, error))
        }
        _ => Ok(()),
    }
}

/// Makes a folder through which others may pass, whatever the umask says.
pub(crate) fn passable(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().mode(0o711).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o711))
}
