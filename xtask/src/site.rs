//! Where things lie: the checkout, its state, its logs, and what is kept between checkouts.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::failure::{Context, Failure, Result};
use crate::scratch;

/// The folders of one checkout.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The workspace's root.
    pub(crate) root: PathBuf,
    /// Eight hexadecimal digits that tell this checkout from others.
    pub(crate) hash: String,
    /// What all checkouts of this machine share: the lock and the state folders.
    pub(crate) base: PathBuf,
    /// Sockets, process records and data of this checkout's parts. Short: a socket's path holds 107 bytes.
    pub(crate) state: PathBuf,
    /// Temporary files of whatever a run starts; removed after it.
    pub(crate) scratch: PathBuf,
    /// The same for what is to be in memory, and as short.
    pub(crate) memory: PathBuf,
    /// Logs, results and helper programs, below the checkout's `target/`.
    pub(crate) work: PathBuf,
    /// What was fetched or built, kept by version for the next checkout.
    pub(crate) cache: PathBuf,
    /// Where cargo puts what it compiles.
    pub(crate) cargo_target: PathBuf,
}

impl Site {
    pub(crate) fn find() -> Result<Self> {
        // `cargo run` sets it afresh; the compiled-in value may be of another checkout with the same target folder.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = manifest.parent().ok_or_else(|| Failure::new("xtask has no parent folder"))?;
        let root = fs::canonicalize(root).context(format_args!("resolving {}", root.display()))?;
        let cache = cache_home()?.join("hodei-worker");
        let cargo_target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => root.join(folder),
            // A clean clone of a CI run is spared compiling the dependencies again.
            None if env::var("CI").is_ok_and(|ci| is_set(&ci)) => cache.join("target"),
            None => root.join("target"),
        };
        let base = base();
        let hash = hash(&root);
        Ok(Self {
            state: base.join(&hash),
            scratch: scratch::folder(&hash),
            memory: scratch::memory(&hash),
            work: root.join("target/hodei-test"),
            root,
            hash,
            base,
            cache,
            cargo_target,
        })
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.work.join("logs")
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.work.join("results")
    }

    pub(crate) fn bin(&self) -> PathBuf {
        self.work.join("bin")
    }

    /// A copy of this program that tests can run, since cargo may be building the original anew meanwhile. Not in the
    /// state folder: `/run` may refuse to execute.
    pub(crate) fn copy_of_ourselves(&self) -> Result<PathBuf> {
        // Parts come up in parallel, and each wants one.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let program = self.bin().join("xtask");
        let part = self.bin().join("xtask.part");
        // Not by its name: a shared target folder that changes hands has lost the file.
        fs::copy("/proc/self/exe", &part)
            .and_then(|_| fs::rename(&part, &program))
            .context("copying xtask for the tests")?;
        Ok(program)
    }

    /// Whether other checkouts may compile into the same folder.
    pub(crate) fn shares_target(&self) -> bool {
        self.cargo_target != self.root.join("target")
    }

    /// Empties a shared target folder that has grown too large: every clone adds its own crates to it.
    pub(crate) fn prune(&self) {
        if self.cargo_target.starts_with(&self.cache) && size(&self.cargo_target) > SHARED_LIMIT {
            println!("emptying {}, which has grown over 20 GB", self.cargo_target.display());
            let _ = fs::remove_dir_all(&self.cargo_target);
        }
    }

    /// Makes every folder that a run writes to.
    pub(crate) fn prepare(&self) -> Result<()> {
        make(&self.state)?;
        make(&self.cache)?;
        self.prepare_work()
    }

    /// Makes the folders below `target/`.
    pub(crate) fn prepare_work(&self) -> Result<()> {
        [self.logs(), self.results(), self.bin()].iter().try_for_each(|folder| make(folder))
    }
}

/// As runners of CI write it: `true`, `1`, or their own name.
fn is_set(ci: &str) -> bool {
    !matches!(ci, "" | "0" | "false")
}

/// In bytes.
const SHARED_LIMIT: u64 = 20 << 30;

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context(format_args!("creating {}", folder.display()))
}

fn cache_home() -> Result<PathBuf> {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .ok_or_else(|| Failure::new("no cache folder: neither XDG_CACHE_HOME nor HOME is set"))
}

fn base() -> PathBuf {
    let user = rustix::process::geteuid();
    if user.is_root() {
        return PathBuf::from("/run/hodei-test");
    }
    match env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) => Path::new(&folder).join("hodei-test"),
        None => env::temp_dir().join(format!("hodei-test-{}", user.as_raw())),
    }
}

/// FNV-1a: short, stable over toolchains, and not meant to withstand anybody.
fn hash(path: &Path) -> String {
    digest(path.as_os_str().as_encoded_bytes())
}

/// Eight hexadecimal digits that tell contents apart which nobody has made to be mistaken for each other.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hash =
        bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_ci_is_one_however_its_runner_writes_it() {
        assert!(is_set("true") && is_set("1") && is_set("woodpecker"));
        assert!(!is_set("") && !is_set("false") && !is_set("0"));
    }

    #[test]
    fn the_hash_of_a_path_is_eight_digits_and_its_own() {
        assert_eq!(hash(Path::new("")), "811c9dc5");
        assert_eq!(hash(Path::new("/a")).len(), 8);
        assert_ne!(hash(Path::new("/a")), hash(Path::new("/b")));
    }
}
