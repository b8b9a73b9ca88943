//! Programs from Debian packages.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::failure::{Failure, Result};
use crate::run;

/// Parts come up in parallel; apt does one thing at a time.
static APT: Mutex<()> = Mutex::new(());

/// Keeps packages from starting their own services: the parts start what they need, elsewhere.
const NO_SERVICES: &str = "/usr/sbin/policy-rc.d";
/// What such a file of ours says. By its mark one that a run left which was cut off is told from an administrator's.
const POLICY: &str =
    "#!/bin/sh\n# hodei-test: no service starts while its tests install programs\nexit 101\n";

/// Where a program stands, in `PATH` or where an administrator's programs stand.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/lib/runit"];
    env::split_paths(&path).chain(system.iter().map(PathBuf::from)).map(|folder| folder.join(program)).find(
        |file| fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0),
    )
}

/// Installs the packages whose programs are missing; `wanted` holds pairs of program and package.
pub(crate) fn install(wanted: &[(&str, &str)]) -> Result<()> {
    if missing(wanted).is_empty() {
        return Ok(());
    }
    let _one = APT.lock().unwrap_or_else(PoisonError::into_inner);
    let packages = missing(wanted);
    if packages.is_empty() {
        return Ok(());
    }
    fetch(&packages)?;
    let still = missing(wanted);
    if still.is_empty() {
        Ok(())
    } else {
        Err(Failure(format!("apt-get gave no program of {}", still.join(" "))))
    }
}

/// Installs a package whatever stands in `PATH`.
pub(crate) fn install_package(package: &str) -> Result<()> {
    let _one = APT.lock().unwrap_or_else(PoisonError::into_inner);
    fetch(&[package])
}

fn fetch(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if which("apt-get").is_none() {
        return Err(Failure(format!("this machine has no apt-get: install {names} by hand")));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Failure(format!("not root: install {names} by hand")));
    }
    println!("installing {names}");
    let _quiet = NoServices::begin()?;
    // Lists may be missing (a fresh image) or too old: then once more after an update.
    if get(&["install", "--no-install-recommends"], packages).is_err() {
        get(&["update"], &[])?;
        get(&["install", "--no-install-recommends"], packages)?;
    }
    Ok(())
}

fn missing<'a>(wanted: &[(&str, &'a str)]) -> Vec<&'a str> {
    wanted.iter().filter(|(program, _)| which(program).is_none()).map(|(_, package)| *package).collect()
}

fn get(arguments: &[&str], packages: &[&str]) -> Result<String> {
    run::output(
        Command::new("apt-get")
            .args(["-y", "-q", "-o", "DPkg::Lock::Timeout=300"])
            .args(arguments)
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// Takes away what a run that was cut off has left: no service would start on this machine any more.
pub(crate) fn sweep() {
    remove_policy(Path::new(NO_SERVICES));
}

fn remove_policy(path: &Path) {
    if fs::read_to_string(path).is_ok_and(|text| text == POLICY) {
        let _ = fs::remove_file(path);
    }
}

struct NoServices;

impl NoServices {
    fn begin() -> Result<Self> {
        let path = Path::new(NO_SERVICES);
        if !path.exists() {
            fs::write(path, POLICY)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        sweep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_was_left_is_removed_and_an_administrators_is_not() {
        let path = env::temp_dir().join(format!("hodei-xtask-policy-{}", std::process::id()));
        fs::write(&path, POLICY).unwrap();
        remove_policy(&path);
        assert!(!path.exists());
        fs::write(&path, "#!/bin/sh\nexit 101\n").unwrap();
        remove_policy(&path);
        assert!(path.exists());
        fs::remove_file(path).unwrap();
    }
}
