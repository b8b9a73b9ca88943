//! Folders of the cache: what was fetched and unpacked stays there for the next checkout, by its contents.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::failure::{Context, Failure, Result};
use crate::site::{self, Site};

/// A folder that is there as a whole or not at all.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
}

impl Kept {
    /// Another folder for each other `content`: what was made of an older one is not taken for this.
    pub(crate) fn new(site: &Site, name: &str, content: &str) -> Self {
        let name = format!("{name}-{}", site::digest(content.as_bytes()));
        Self { path: site.cache.join("tools").join(name) }
    }

    /// The folder, which `make` fills unless it is there. Parts come up in parallel: one at a time makes what `one` is for.
    pub(crate) fn make(&self, one: &Mutex<()>, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let _one = one.lock().unwrap_or_else(PoisonError::into_inner);
        if self.path.exists() {
            return Ok(self.path.clone());
        }
        // Not by its extension: a version has a dot, too.
        let part = PathBuf::from(format!("{}.part", self.path.display()));
        let _ = fs::remove_dir_all(&part);
        fs::create_dir_all(&part).context(format_args!("creating {}", part.display()))?;
        make(&part)?;
        fs::rename(&part, &self.path).context(format_args!("keeping {}", self.path.display()))?;
        Ok(self.path.clone())
    }

    /// The folder, if it is there.
    pub(crate) fn made(&self) -> Result<PathBuf> {
        if self.path.exists() {
            Ok(self.path.clone())
        } else {
            Err(Failure(format!("{} is not there", self.path.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_once_and_is_there_only_as_a_whole() {
        let cache = std::env::temp_dir().join(format!("hodei-xtask-kept-{}", std::process::id()));
        let site = Site { cache: cache.clone(), ..Site::find().unwrap() };
        let kept = Kept::new(&site, "tool-1.0", "its digest");
        let one = Mutex::new(());
        let cut_off = kept.make(&one, |folder| {
            fs::write(folder.join("half"), "")?;
            Err(Failure::new("no network"))
        });
        assert!(cut_off.is_err() && kept.made().is_err());
        let folder = kept.make(&one, |folder| Ok(fs::write(folder.join("whole"), "")?)).unwrap();
        assert!(folder.join("whole").exists() && !folder.join("half").exists());
        assert_eq!(kept.make(&one, |_| Err(Failure::new("made twice"))).unwrap(), kept.made().unwrap());
        assert!(Kept::new(&site, "tool-1.0", "another digest").made().is_err());
        fs::remove_dir_all(cache).unwrap();
    }
}
