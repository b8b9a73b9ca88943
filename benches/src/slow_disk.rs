//! A disk that is slow for one process: a control group that lets few of its writes through.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

const ROOT: &str = "/sys/fs/cgroup/blkio";
const PREFIX: &str = "hodei-bench-slow-";

/// The group. It is removed when this is dropped, once its processes have ended.
#[derive(Debug)]
pub struct SlowDisk {
    group: PathBuf,
    device: String,
}

impl SlowDisk {
    /// For the disk that holds this folder.
    ///
    /// # Errors
    /// Where the kernel cannot slow it down: without the first version of control groups, without the right to, or where
    /// the folder is on no disk of its own.
    pub fn of(folder: &Path) -> io::Result<Self> {
        for stale in fs::read_dir(ROOT)?.flatten() {
            let name = stale.file_name();
            let Some(owner) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            if !Path::new("/proc").join(owner).exists() {
                // One with processes stays.
                let _ = fs::remove_dir(stale.path());
            }
        }
        let device = fs::metadata(folder)?.dev();
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let disk = Self { group: Path::new(ROOT).join(format!("{PREFIX}{}", std::process::id())), device };
        fs::create_dir(&disk.group)?;
        disk.limit(1)?;
        Ok(disk)
    }

    /// From now on this process gets so many writes a second done.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn slow(&self, pid: u32, writes: u32) -> io::Result<()> {
        self.limit(writes)?;
        fs::write(self.group.join("cgroup.procs"), pid.to_string())
    }

    fn limit(&self, writes: u32) -> io::Result<()> {
        let limit = format!("{} {writes}", self.device);
        fs::write(self.group.join("blkio.throttle.write_iops_device"), limit)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group);
    }
}
