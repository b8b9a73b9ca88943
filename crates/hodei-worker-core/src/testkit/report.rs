use std::{io::Write as _, path::PathBuf};

use serde::Serialize;

/// One line per case in the folder that `HODEI_TEST_RESULTS` names, for the coverage table.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) id: &'a str,
    pub(super) part: &'a str,
    pub(super) version: &'a str,
    pub(super) result: &'static str,
    pub(super) reason: Option<&'a str>,
    pub(super) millis: u64,
}

pub(super) fn write(line: &Line<'_>) {
    let Some(folder) = std::env::var_os("HODEI_TEST_RESULTS").map(PathBuf::from) else { return };
    let path = folder.join(format!("{}-{}.jsonl", line.part, std::process::id()));
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    let written = serde_json::to_vec(line).map_err(std::io::Error::other).and_then(|mut bytes| {
        bytes.push(b'\n');
        file?.write_all(&bytes)
    });
    if let Err(error) = written {
        eprintln!("cannot write the result to {}: {error}", path.display());
    }
}
