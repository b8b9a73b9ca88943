//! One run of real parts at a time on a machine.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use crate::failure::{Context, Failure, Result};
use crate::site::Site;
use crate::stop;

/// One file for all users: parts take ports, bridges and the machine's time, whoever runs them.
const PATH: &str = "/tmp/hodei-test.lock";

/// The machine's lock; given back when dropped, or when the process ends however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting for whoever holds it, and says who that is.
    pub(crate) fn take(site: &Site, what: &str) -> Result<Self> {
        Self::at(Path::new(PATH), &format!("`cargo xtask {what}` in {}", site.root.display()))
    }

    fn at(path: &Path, whose: &str) -> Result<Self> {
        let mut told = false;
        loop {
            let mut file = open(path).context(format_args!("opening {}", path.display()))?;
            while !locked(&file).context(format_args!("locking {}", path.display()))? {
                if !told {
                    told = true;
                    let mut holder = String::new();
                    file.rewind()?;
                    file.read_to_string(&mut holder)?;
                    println!("waiting: the parts are in use by {}", holder.trim());
                }
                stop::check()?;
                stop::settle(Duration::from_millis(200));
            }
            // Somebody may have removed the file that we waited for, and another have made a new one.
            if is_at(&file, path)? {
                file.set_len(0)?;
                file.rewind()?;
                writeln!(file, "{whose} (pid {})", std::process::id())?;
                return Ok(Self { _file: file });
            }
        }
    }
}

/// Opens it for everybody's use. A link in its place is refused: the folder is open to all.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlags::NOFOLLOW.bits() as i32);
    loop {
        // Without the wish to create: in a folder open to all the kernel may refuse that for another's file.
        match options.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened,
        }
        match options.clone().create_new(true).open(path) {
            Ok(file) => {
                // Past the mask of whoever comes first.
                file.set_permissions(fs::Permissions::from_mode(0o666))?;
                return Ok(file);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether we hold it now; an error is none of another's holding it.
fn locked(file: &File) -> Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(error) => Err(Failure(error.to_string())),
    }
}

fn is_at(file: &File, path: &Path) -> Result<bool> {
    let ours = file.metadata()?;
    Ok(fs::symlink_metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("hodei-xtask-lock-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_lock_is_open_to_all_users_and_held_by_one() {
        let path = path("held");
        let lock = Lock::at(&path, "the first").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert!(fs::read_to_string(&path).unwrap().starts_with("the first (pid "));
        assert!(!locked(&open(&path).unwrap()).unwrap());
        drop(lock);
        assert!(locked(&open(&path).unwrap()).unwrap());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_refused() {
        let (path, target) = (path("link"), path("target"));
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(Lock::at(&path, "anybody").is_err());
        assert!(!target.exists());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_cannot_be_locked_is_an_error_and_no_reason_to_wait() {
        // A path alone, without the right to do anything with it.
        let file = OpenOptions::new().read(true).custom_flags(OFlags::PATH.bits() as i32).open("/").unwrap();
        assert!(locked(&file).is_err());
    }
}
