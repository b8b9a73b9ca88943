use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A file system of its own and of a small size, in memory: what a full or read-only disk does to a store is seen on it.
///
/// Only root on Linux can make some. It is unmounted when this is dropped.
///
/// # Examples
/// ```
/// use hodei_worker_core::testkit::SmallDisk;
/// # fn main() -> std::io::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("small-disk-{}", std::process::id()));
/// if let Some(disk) = SmallDisk::mount(&folder, 1 << 20)? {
///     disk.fill()?;
///     assert!(std::fs::write(disk.path().join("more"), [0; 8192]).is_err());
///     disk.empty()?;
///     std::fs::write(disk.path().join("more"), [0; 8192])?;
/// }
/// # std::fs::remove_dir(&folder) }
/// ```
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many bytes at a folder, which is made. `None` where that is not allowed.
    ///
    /// # Errors
    /// When the folder cannot be made, or there is no `mount`.
    pub fn mount(folder: &Path, bytes: u64) -> io::Result<Option<Self>> {
        fs::create_dir_all(folder)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0755"), "tmpfs"]).arg(folder);
        let mounted = mount.stderr(Stdio::null()).status()?.success();
        Ok(mounted.then(|| Self(folder.to_owned())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Lets nobody write to it any more, or lets all write again.
    ///
    /// # Errors
    /// When the system refuses: somebody has a file open for writing.
    pub fn read_only(&self, read_only: bool) -> io::Result<()> {
        let how = if read_only { "remount,ro" } else { "remount,rw" };
        let done = Command::new("mount").args(["-o", how]).arg(&self.0).status()?.success();
        if done { Ok(()) } else { Err(io::Error::other(format!("`mount -o {how}` failed"))) }
    }

    /// Takes all the room that there is.
    ///
    /// # Errors
    /// When nothing can be written for another reason.
    pub fn fill(&self) -> io::Result<()> {
        let mut file = fs::File::create(self.0.join("fill"))?;
        loop {
            match file.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the room back that [`fill`](Self::fill) took.
    ///
    /// # Errors
    /// When that cannot be removed.
    pub fn empty(&self) -> io::Result<()> {
        // Emptied first: a process that is just being started may have it open still, and with it the room.
        fs::write(self.0.join("fill"), "")?;
        fs::remove_file(self.0.join("fill"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
    }
}
