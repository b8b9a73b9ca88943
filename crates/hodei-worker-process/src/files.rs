//! Small files that are there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Serialize, de::DeserializeOwned};

/// Reads a file; `None` when there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    absent(fs::read(path))
}

/// Reads what [`put`] wrote; `None` when there is none.
pub(crate) fn get<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from)
}

/// Writes a value so that it appears whole, replacing what was there. The temporary name begins with a dot.
pub(crate) fn put<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let temporary = write_temporary(path, value)?;
    fs::rename(&temporary, path).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// The same, unless there is one already: then `false`.
pub(crate) fn put_new<T: Serialize>(path: &Path, value: &T) -> io::Result<bool> {
    let temporary = write_temporary(path, value)?;
    match renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => fs::remove_file(&temporary).map(|()| false),
        Err(errno) => {
            let _ = fs::remove_file(&temporary);
            Err(errno.into())
        }
    }
}

fn write_temporary<T: Serialize>(path: &Path, value: &T) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{:x}", fastrand::u32(..)));
    write_new(&temporary, value).map(|()| temporary)
}

/// Writes a value into a file that must not exist yet, where nobody looks before it is whole.
pub(crate) fn write_new<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    create_exclusive(path)?.write_all(&bytes).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// The temporary files in a folder that nobody came to rename, and the names that they were for.
pub(crate) fn temporary(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let entries = fs::read_dir(folder)?.flatten();
    let halves = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let (name, _) = name.strip_prefix('.')?.rsplit_once('.')?;
        Some((entry.path(), name.to_owned()))
    });
    Ok(halves.collect())
}

/// Creates an empty file that must not exist yet.
pub(crate) fn create_exclusive(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes sure that an empty file exists.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    match create_exclusive(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// `None` for what does not exist.
pub(crate) fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    absent(fs::remove_file(path)).map(drop)
}

/// Removes a folder with all that is in it, which may be gone already, or be removed by somebody else at the same time.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    absent(fs::remove_dir_all(path)).map(drop)
}

/// The names in a folder, without those that begin with a dot. Empty when there is no such folder.
pub(crate) fn names(path: &Path) -> io::Result<Vec<String>> {
    let Some(entries) = absent(fs::read_dir(path))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    Ok(names)
}
