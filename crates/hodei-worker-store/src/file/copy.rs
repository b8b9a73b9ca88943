use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A folder of its own for a copy, which goes with it.
#[derive(Debug)]
pub(super) struct Copy(PathBuf);

impl Copy {
    /// Copies an engine's file or folder into a new folder.
    pub(super) fn of(entry: &Path, folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let copy = Self(folder);
        copy_all(entry, &copy.entry(entry))?;
        Ok(copy)
    }
    /// Where the copy is.
    pub(super) fn entry(&self, entry: &Path) -> PathBuf {
        self.0.join(entry.file_name().unwrap_or_default())
    }
    /// A folder's name where temporary files are.
    pub(super) fn temporary() -> PathBuf {
        std::env::temp_dir().join(format!("hodei-store-{}-{:08x}", std::process::id(), fastrand::u32(..)))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a copy of a store was left");
        }
    }
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
