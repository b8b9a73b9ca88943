//! Archives from Maven Central, each known by its digest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Context, Failure, Result};
use crate::run;
use crate::tools::apt;

const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

/// One archive.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) group: &'static str,
    pub(crate) artifact: &'static str,
    pub(crate) version: &'static str,
    /// `zip`, which is its file's extension, too.
    pub(crate) kind: &'static str,
    pub(crate) sha256: &'static str,
}

impl Archive {
    /// Brings it into this folder and gives its file.
    pub(crate) fn fetch(&self, folder: &Path) -> Result<PathBuf> {
        let Self { group, artifact, version, kind, sha256 } = self;
        apt::install(&[("mvn", "maven")])?;
        println!("fetching {artifact} {version} from Maven Central");
        // A repository of its own, since what is in the user's would stay there after its one use.
        let repository = folder.join("repository");
        let mut mvn = Command::new("mvn");
        mvn.current_dir(folder)
            .args(["--quiet", "--batch-mode", PLUGIN])
            .arg(format!("-Dmaven.repo.local={}", repository.display()))
            .arg(format!("-Dartifact={group}:{artifact}:{version}:{kind}"))
            .arg(format!("-DoutputDirectory={}", folder.display()));
        run::output(&mut mvn).context(format_args!("fetching {artifact}"))?;
        fs::remove_dir_all(&repository)?;
        let file = folder.join(format!("{artifact}-{version}.{kind}"));
        let said = run::output(Command::new("sha256sum").arg(&file))?;
        if said.split(' ').next() == Some(sha256) {
            Ok(file)
        } else {
            Err(Failure(format!("{artifact} {version} is not what it was: {}", said.trim())))
        }
    }
}
