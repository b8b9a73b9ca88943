//! Programs of a few lines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::failure::{Context, Result};

/// Writes a program that the shell runs.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .context(format_args!("writing {}", path.display()))
}
