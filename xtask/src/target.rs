//! A target folder that several checkouts share: whose crates it holds.
//!
//! Cargo names what it compiles of a workspace's members by their paths *inside* of the workspace, and takes it for
//! fresh by the time of the files alone. So a checkout whose files are older than what another one has compiled would be
//! given the other's programs. What comes from registries is the same for all, and stays.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::failure::{Context, Result};
use crate::site::Site;
use crate::{packages, run};

/// Says whose crates the folder holds.
const OWNER: &str = ".hodei-owner";

/// Makes a shared target folder this checkout's: what another one, or another commit, compiled of the members is
/// removed. The machine's lock must be held, and stay held while the folder is used.
pub(crate) fn claim(site: &Site) -> Result<()> {
    if !site.shares_target() {
        return Ok(());
    }
    site.prune();
    let owner = owner(site)?;
    let file = site.cargo_target.join(OWNER);
    if fs::read_to_string(&file).is_ok_and(|before| before == owner) {
        return Ok(());
    }
    if site.cargo_target.exists() {
        forget_members(site)?;
    }
    fs::create_dir_all(&site.cargo_target)?;
    fs::write(&file, owner).context(format_args!("writing {}", file.display()))
}

/// The checkout and its commit. The folder's number, too: another clone may have been put in the same place.
fn owner(site: &Site) -> Result<String> {
    let folder = fs::metadata(&site.root)?;
    let commit = run::output(Command::new("git").arg("-C").arg(&site.root).args(["rev-parse", "HEAD"]))
        .unwrap_or_else(|_| "no commit\n".to_owned());
    Ok(format!("{}\n{}:{}\n{commit}", site.root.display(), folder.dev(), folder.ino()))
}

fn forget_members(site: &Site) -> Result<()> {
    println!("{} holds another checkout's crates: they are compiled anew", site.cargo_target.display());
    let members = packages::all(site)?;
    let targets = named_targets(&site.cargo_target);
    for target in std::iter::once(None).chain(targets.iter().map(Some)) {
        for profile in ["dev", "release"] {
            let mut command = run::cargo(site);
            command.args(["clean", "--quiet", "--profile", profile]);
            command.args(target.map(|target| format!("--target={target}")));
            for member in &members {
                command.args(["--package", &member.name]);
            }
            run::output(&mut command)?;
        }
    }
    // Only members are documented and packaged.
    for folder in ["doc", "package"] {
        let _ = fs::remove_dir_all(site.cargo_target.join(folder));
    }
    Ok(())
}

/// The targets that something was compiled for by name: `x86_64-unknown-linux-gnu` has a folder of its own.
fn named_targets(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.matches('-').count() >= 2).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A workspace whose only program says its word, with files of that age.
    fn checkout(root: &Path, word: &str, written: SystemTime) -> Site {
        fs::create_dir_all(root.join("one/src")).unwrap();
        let files = [
            ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"one\"]\n".to_owned()),
            (
                "one/Cargo.toml",
                "[package]\nname = \"one\"\nversion = \"0.1.0\"\nedition = \"2024\"\n".to_owned(),
            ),
            ("one/src/main.rs", format!("fn main() {{ println!(\"{word}\"); }}\n")),
        ];
        for (name, text) in files {
            let path = root.join(name);
            fs::write(&path, text).unwrap();
            fs::File::options().append(true).open(&path).unwrap().set_modified(written).unwrap();
        }
        let shared = root.parent().unwrap().join("shared");
        Site { root: root.to_owned(), cargo_target: shared, ..Site::find().unwrap() }
    }

    fn said_by(site: &Site) -> String {
        claim(site).unwrap();
        run::output(run::cargo(site).args(["run", "--quiet", "--offline"])).unwrap().trim().to_owned()
    }

    #[test]
    fn a_checkout_with_older_files_runs_its_own_code_and_not_that_of_another() {
        let folder = Folder(std::env::temp_dir().join(format!("hodei-xtask-target-{}", std::process::id())));
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let first = checkout(&folder.0.join("a"), "the first", written);
        let second = checkout(&folder.0.join("b"), "the second", written - Duration::from_secs(3600));
        assert_eq!(said_by(&first), "the first");
        assert_eq!(said_by(&second), "the second");
        assert_eq!(said_by(&first), "the first");
    }

    #[test]
    fn the_owner_of_a_folder_stays_it_until_its_commit_changes() {
        let site = Site::find().unwrap();
        assert_eq!(owner(&site).unwrap(), owner(&site).unwrap());
        assert!(owner(&site).unwrap().starts_with(&format!("{}\n", site.root.display())));
    }
}
