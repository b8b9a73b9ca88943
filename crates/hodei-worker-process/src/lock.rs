//! A lock that its holder's death releases, and that can be looked at without being touched.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};

fn whole_file() -> libc::flock {
    libc::flock { l_type: libc::F_WRLCK as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 }
}

/// Takes the lock, creating its file; `None` when somebody holds it. Dropping the file releases it.
///
/// A lock of the open file rather than `flock`: whether it is held can be asked without taking it for an instant, in
/// which its rightful holder would be turned away.
pub(crate) fn take(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let file = match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Looked at first: whoever opens it for writing is heard of when it is closed, as if it had been released.
            if is_held(path)? {
                return Ok(None);
            }
            options.create(true).truncate(false).open(path)?
        }
        made => made?,
    };
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
        Ok(_) => Ok(Some(file)),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether somebody holds the lock.
pub(crate) fn is_held(path: &Path) -> io::Result<bool> {
    let Some(file) = crate::files::absent(File::open(path))? else { return Ok(false) };
    let mut lock = whole_file();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l6_a_lock_is_held_once_and_can_be_looked_at() {
        let path = std::env::temp_dir().join(format!("hodei-lock-{:x}", fastrand::u64(..)));
        assert!(!is_held(&path).unwrap());
        let held = take(&path).unwrap().unwrap();
        assert!(is_held(&path).unwrap());
        assert!(take(&path).unwrap().is_none());
        drop(held);
        assert!(!is_held(&path).unwrap());
        std::fs::remove_file(path).unwrap();
    }
}
