//! Programs that are built from a Go module: a folder of ours names the module and pins what it needs, and what comes of
//! it is kept by its contents.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::failure::{Context, Failure, Result};
use crate::site::Site;
use crate::tools::apt::which;
use crate::{run, stop};

/// Parts come up in parallel, and one build has all processors already.
static GO: Mutex<()> = Mutex::new(());

/// How one module's programs are built.
#[derive(Debug)]
pub(crate) struct Module {
    /// The folder below `xtask/go` with its `go.mod` and `go.sum`.
    pub(crate) folder: &'static str,
    /// The packages of its programs, each with the name that the program gets.
    pub(crate) programs: &'static [(&'static str, &'static str)],
    /// Values that are linked in: `-X` of the linker.
    pub(crate) linked: &'static str,
    pub(crate) tags: &'static str,
    /// Whether it needs a C compiler.
    pub(crate) c: bool,
}

impl Module {
    /// The folder with its programs, which are built unless they are there.
    pub(crate) fn build(&self, site: &Site) -> Result<PathBuf> {
        let source = site.root.join("xtask/go").join(self.folder);
        let folder = self.place(site)?;
        if self.is_built(&folder) {
            return Ok(folder);
        }
        let _one = GO.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_built(&folder) {
            return Ok(folder);
        }
        let go = which("go")
            .or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|go| go.exists()))
            .ok_or_else(|| Failure(format!("{} is built from a Go module: install Go 1.26", self.folder)))?;
        println!("building {} from its Go module", self.folder);
        // Not by its extension: a version has a dot, too.
        let part = PathBuf::from(format!("{}.part", folder.display()));
        let _ = fs::remove_dir_all(&part);
        fs::create_dir_all(&part).context(format_args!("creating {}", part.display()))?;
        for (package, name) in self.programs {
            stop::check()?;
            let mut command = Command::new(&go);
            command
                .current_dir(&source)
                .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-tags", self.tags])
                .args(["-ldflags", &format!("-s -w {}", self.linked), "-o"])
                .arg(part.join(name))
                .arg(package)
                .env("CGO_ENABLED", if self.c { "1" } else { "0" });
            run::output(&mut command).context(format_args!("building {package}"))?;
        }
        fs::rename(&part, &folder).context(format_args!("keeping {}", folder.display()))?;
        Ok(folder)
    }

    /// The folder with its programs, if they are there.
    pub(crate) fn built(&self, site: &Site) -> Result<PathBuf> {
        let folder = self.place(site)?;
        if self.is_built(&folder) {
            Ok(folder)
        } else {
            Err(Failure(format!("{} is not built", self.folder)))
        }
    }

    fn is_built(&self, folder: &Path) -> bool {
        self.programs.iter().all(|(_, name)| folder.join(name).exists())
    }

    /// Another folder for each other content: what was built of an older one is not taken for this.
    fn place(&self, site: &Site) -> Result<PathBuf> {
        let source = site.root.join("xtask/go").join(self.folder);
        let mut all = format!("{self:?}");
        for name in ["go.mod", "go.sum"] {
            let file = source.join(name);
            all += &fs::read_to_string(&file).context(format_args!("reading {}", file.display()))?;
        }
        Ok(site.cache.join("tools").join(format!("{}-{}", self.folder, crate::site::digest(all.as_bytes()))))
    }
}
