//! The documentation builds without a warning, here and as docs.rs builds it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::Ground;
use crate::failure::{Context, Failure, Result};
use crate::run;

pub(super) fn check(ground: &Ground<'_>) -> Result<String> {
    let mut command = run::cargo(ground.site);
    command.args(["doc", "--quiet", "--workspace", "--no-deps", "--all-features"]);
    run::output(command.env("RUSTDOCFLAGS", "-D warnings")).map(|_| String::new())
}

pub(super) fn docs_rs(ground: &Ground<'_>) -> Result<String> {
    let partly: Vec<_> = ground.publishable().filter(|package| !package.shown_whole).collect();
    if let Some(package) = partly.first() {
        return Err(Failure(format!("{} lacks `package.metadata.docs.rs.all-features`", package.name)));
    }
    let mut command = run::cargo(ground.site);
    command.args(["doc", "--quiet", "--no-deps", "--all-features"]);
    for package in ground.publishable() {
        command.args(["--package", &package.name]);
    }
    command.env("RUSTDOCFLAGS", "--cfg docsrs -D warnings").env("RUSTDOC", unlocked(ground)?);
    run::output(&mut command).map(|_| String::new())
}

/// The toolchain's rustdoc with its unstable options allowed. In rustdoc alone: were the compiler
/// told, every dependency would be built again.
pub(super) fn unlocked(ground: &Ground<'_>) -> Result<PathBuf> {
    let script = ground.site.bin().join("rustdoc-unlocked");
    let rustdoc = std::env::var_os("RUSTDOC").unwrap_or_else(|| OsString::from("rustdoc"));
    let text = format!("#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec '{}' \"$@\"\n", rustdoc.display());
    fs::write(&script, text).context(format_args!("writing {}", script.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}
