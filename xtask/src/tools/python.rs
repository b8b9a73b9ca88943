//! Programs from PyPI: a folder of ours names them and all that they need, each with its digests, and a virtual
//! environment of them is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::failure::{Context, Failure, Result};
use crate::run;
use crate::site::Site;
use crate::tools::apt;
use crate::tools::kept::Kept;

/// What Debian has it in, and what its environments need besides.
const PACKAGES: [(&str, &str); 1] = [("python3", "python3")];
const OF_DEBIAN: &str = "/usr/bin/python3";

/// One environment.
#[derive(Debug)]
pub(crate) struct Environment {
    /// The folder below `xtask/python` with its `requirements.txt`.
    folder: &'static str,
    /// Two parts may want the same.
    one: Mutex<()>,
}

impl Environment {
    pub(crate) const fn new(folder: &'static str) -> Self {
        Self { folder, one: Mutex::new(()) }
    }

    /// Brings it here, unless it is.
    pub(crate) fn install(&self, site: &Site) -> Result<()> {
        let wanted = self.requirements(site);
        self.kept(site)?.make(&self.one, |folder| {
            println!("installing {} from PyPI", self.folder);
            run::output(Command::new(python()?).args(["-m", "venv"]).arg(folder))?;
            let mut pip = Command::new(folder.join("bin/python"));
            pip.args(["-m", "pip", "install", "--require-hashes", "--only-binary", ":all:", "--no-deps"]);
            pip.args(["--no-cache-dir", "--no-compile", "--disable-pip-version-check", "--requirement"])
                .arg(&wanted);
            run::output(&mut pip).context(format_args!("installing {}", wanted.display())).map(drop)
        })?;
        Ok(())
    }

    /// Its interpreter. Scripts of it name another folder than it has come to lie in: modules are run by this.
    pub(crate) fn interpreter(&self, site: &Site) -> Result<PathBuf> {
        Ok(self.kept(site)?.made()?.join("bin/python"))
    }

    /// Where a file of one of its packages lies.
    pub(crate) fn file(&self, site: &Site, path: &str) -> Result<PathBuf> {
        let versions = self.kept(site)?.made()?.join("lib");
        let entries = fs::read_dir(&versions).into_iter().flatten().flatten();
        let mut files = entries.map(|version| version.path().join("site-packages").join(path));
        files
            .find(|file| file.exists())
            .ok_or_else(|| Failure(format!("no {path} below {}", versions.display())))
    }

    /// The version that is asked for of one of its packages.
    pub(crate) fn version(&self, site: &Site, package: &str) -> Result<String> {
        let text = self.text(site)?;
        pinned(&text, package)
            .map(str::to_owned)
            .ok_or_else(|| Failure(format!("{} names no {package}", self.requirements(site).display())))
    }

    fn requirements(&self, site: &Site) -> PathBuf {
        site.root.join("xtask/python").join(self.folder).join("requirements.txt")
    }

    fn text(&self, site: &Site) -> Result<String> {
        let file = self.requirements(site);
        fs::read_to_string(&file).context(format_args!("reading {}", file.display()))
    }

    fn kept(&self, site: &Site) -> Result<Kept> {
        Ok(Kept::new(site, self.folder, &self.text(site)?))
    }
}

/// `package==1.2.3 \`, with or without extras and conditions.
fn pinned<'a>(text: &'a str, package: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, version) = line.split_once("==")?;
        let name = name.split('[').next()?;
        (name == package).then(|| version.split([' ', ';']).next().unwrap_or(version))
    })
}

/// An interpreter that can make environments; Debian keeps what that takes in a package of its own.
fn python() -> Result<PathBuf> {
    apt::install(&PACKAGES)?;
    let can = |program: &Path| {
        run::output(Command::new(program).args(["-c", "import venv, ensurepip"]))
            .is_ok()
            .then(|| program.into())
    };
    let found = apt::which("python3").and_then(|program| can(&program));
    if let Some(program) = found.or_else(|| can(Path::new(OF_DEBIAN))) {
        return Ok(program);
    }
    apt::install_package("python3-venv")?;
    can(Path::new(OF_DEBIAN)).ok_or_else(|| Failure::new("no Python that makes virtual environments"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_its_line() {
        let text =
            "# by hand\nmoto[server]==5.2.5 \\\n    --hash=sha256:00\npy==1 ; python_version < \"4\"\n";
        assert_eq!(pinned(text, "moto"), Some("5.2.5"));
        assert_eq!(pinned(text, "py"), Some("1"));
        assert_eq!(pinned(text, "mot"), None);
    }
}
