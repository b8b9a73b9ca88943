//! No file is longer than a reader holds in mind.

use std::fs;
use std::path::{Path, PathBuf};

use super::Ground;
use crate::failure::{Failure, Result};

const LIMIT: usize = 600;

pub(super) fn check(ground: &Ground<'_>) -> Result<String> {
    let mut files = Vec::new();
    for folder in ["crates", "examples", "benches", "xtask"] {
        collect(&ground.site.root.join(folder), &mut files);
    }
    let mut lengths = Vec::new();
    for file in files {
        let lines = fs::read_to_string(&file)?.lines().count();
        lengths.push((lines, file));
    }
    judge(lengths, &ground.site.root)
}

fn judge(mut lengths: Vec<(usize, PathBuf)>, root: &Path) -> Result<String> {
    lengths.sort();
    let long: Vec<_> = lengths
        .iter()
        .filter(|(lines, _)| *lines > LIMIT)
        .map(|(lines, file)| {
            format!("{}: {lines} lines, over {LIMIT}", file.strip_prefix(root).unwrap_or(file).display())
        })
        .collect();
    if !long.is_empty() {
        return Err(Failure(long.join("\n")));
    }
    let median = lengths.get(lengths.len() / 2).map_or(0, |(lines, _)| *lines);
    let longest = lengths.last().map_or(0, |(lines, _)| *lines);
    Ok(format!("{} files, median {median} lines, longest {longest}", lengths.len()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_named() {
        let lengths = vec![(601, "/w/crates/a/src/lib.rs".into()), (12, "/w/b.rs".into())];
        let error = judge(lengths, Path::new("/w")).unwrap_err();
        assert_eq!(error.0, "crates/a/src/lib.rs: 601 lines, over 600");
        assert_eq!(
            judge(vec![(600, "/w/b.rs".into())], Path::new("/w")).unwrap(),
            "1 files, median 600 lines, longest 600"
        );
    }
}
