//! Where tests keep state: in memory, as providers do by default, so that secret files are offered.
#![allow(clippy::expect_used)] // Without it no test can run.

use std::path::{Path, PathBuf};

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS: i64 = 0x0102_1994;

pub(crate) fn folder() -> PathBuf {
    let in_memory = |path: &PathBuf| is_memory(path);
    // `cargo xtask` names a folder, so that it knows what a run that was cut off has left.
    let named = std::env::var_os("HODEI_TEST_MEMORY").map(PathBuf::from);
    let found = named.into_iter().chain([std::env::temp_dir(), "/dev/shm".into()]).find(in_memory);
    found.expect("neither the temporary folder nor /dev/shm is in memory")
}

pub(crate) fn is_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == TMPFS)
}
