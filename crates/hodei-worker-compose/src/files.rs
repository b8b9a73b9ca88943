//! Reading files, within limits.

use std::{io::Read, path::Path as FilePath, sync::Arc};

use hodei_worker_core::{Error, Result};

use crate::{
    limits::{Budget, MAX_FILE_BYTES},
    place::{Place, refuse_file},
};

/// Where a file was named, so that the error about it can say so.
pub(crate) struct Named<'a> {
    pub(crate) place: &'a Place,
    pub(crate) field: &'a str,
}

impl Named<'_> {
    fn error(this: Option<&Self>, path: &FilePath, message: &str) -> Error {
        match this {
            Some(named) => named.place.refuse(named.field, format!("`{}` {message}", path.display())),
            None => refuse_file(path, format!("this file {message}")),
        }
    }
}

/// Reads a file as text.
pub(crate) fn read(path: &str, named: Option<&Named<'_>>, budget: &Budget) -> Result<String> {
    let path = FilePath::new(path);
    budget.file().map_err(|exceeded| {
        Named::error(named, path, &format!("is not read: the project is too large, {}", exceeded.0))
    })?;
    let failed = |error: std::io::Error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let message = if missing { "does not exist" } else { "cannot be read" };
        let help =
            if missing { "correct its path, or create it" } else { "correct its permissions or its path" };
        Named::error(named, path, message).with_help(help).with_source(error)
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(Named::error(named, path, "is a folder").with_help("name a file in it"));
    }
    if named.is_some() && !metadata.is_file() && path != FilePath::new("/dev/null") {
        return Err(Named::error(named, path, "is not a regular file"));
    }
    let mut bytes = Vec::new();
    let most = MAX_FILE_BYTES as u64 + 1;
    std::fs::File::open(path).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Named::error(named, path, "is larger than 4 MiB"));
    }
    budget.text(bytes.len()).map_err(|exceeded| {
        Named::error(named, path, &format!("is not read: the project is too large, {}", exceeded.0))
    })?;
    decode(bytes, path)
}

/// Text in UTF-8, or in UTF-16 with its mark.
fn decode(bytes: Vec<u8>, path: &FilePath) -> Result<String> {
    let wide = |from: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| from([pair[0], pair[1]])).collect();
        String::from_utf16(&units)
            .map_err(|error| refuse_file(path, "this file is not text").with_source(error))
    };
    match bytes[..] {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8(bytes).map_err(|error| {
            let until = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..until].iter().filter(|byte| **byte == b'\n').count();
            Place::new(&Arc::from(path), line)
                .refuse("text", "this is not text in UTF-8")
                .with_help("store the file as UTF-8")
        }),
    }
}

/// Whether there is a file, and no folder, of that name.
pub(crate) fn is_file(path: &str) -> bool {
    FilePath::new(path).metadata().is_ok_and(|metadata| !metadata.is_dir())
}
