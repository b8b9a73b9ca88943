//! The image of the tests: busybox, made here, since no image registry is assumed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Context, Failure, Result};
use crate::run;
use crate::tools::apt::{self, which};

/// The image's name in the engine.
pub(crate) const NAME: &str = "hodei-test/busybox:1";

/// Packs the image's root file system, once per state folder.
pub(crate) fn archive(state: &Path) -> Result<PathBuf> {
    let file = state.join("busybox.tar");
    if file.exists() {
        return Ok(file);
    }
    let busybox = busybox()?;
    let root = state.join("image");
    for folder in ["bin", "dev", "etc", "home/app", "proc", "root", "sys", "tmp", "var"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(&busybox, root.join("bin/busybox")).context(format_args!("copying {}", busybox.display()))?;
    for applet in run::output(Command::new(&busybox).arg("--list"))?.lines().filter(|name| *name != "busybox")
    {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\napp:x:1000:\n")?;
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let part = state.join("busybox.tar.part");
    run::output(
        Command::new("tar")
            .args([
                "--create",
                "--sort=name",
                "--owner=0",
                "--group=0",
                "--numeric-owner",
                "--mtime=@0",
                "--file",
            ])
            .arg(&part)
            .arg("--directory")
            .arg(&root)
            .arg("."),
    )?;
    fs::rename(&part, &file)?;
    fs::remove_dir_all(&root)?;
    Ok(file)
}

/// A busybox that needs no library; Debian has both kinds under one name.
fn busybox() -> Result<PathBuf> {
    let file = which("busybox").ok_or_else(|| Failure::new("no busybox"))?;
    let loader = b"/ld-linux";
    let dynamic = fs::read(&file)?.windows(loader.len()).any(|window| window == loader);
    if dynamic {
        apt::install_package("busybox-static")?;
    }
    Ok(file)
}
