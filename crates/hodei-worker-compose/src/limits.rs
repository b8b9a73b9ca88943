//! What input may cost. All are counted, so reading ends whatever the input is.

use std::cell::Cell;

/// The largest file that is read, in bytes: compose files, and files of variables and labels.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// How deep values may be nested.
pub const MAX_DEPTH: usize = 100;
/// How many values a project may have, aliases, merges, `extends`, `include` and ranges of ports counted as often as
/// they are used.
pub const MAX_NODES: usize = 500_000;
/// How much text a project may have, in bytes, every use of an alias and of a variable counted.
pub const MAX_TEXT_BYTES: usize = 64 * 1024 * 1024;
/// How many values all passes over a project may look at: a file of very many documents, each laid over the ones
/// before, reaches it.
pub const MAX_WORK: usize = 3_000_000;
/// How many files a project may read, a file read twice counted twice.
pub const MAX_FILES: usize = 1_000;
/// How long a chain of `extends` and of `include` may be, and how deep `${A:-${B}}` may be nested.
pub const MAX_CHAIN: usize = 50;

/// Which limit was reached, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded(pub(crate) &'static str);

/// What is left of the limits while a project is read.
#[derive(Debug)]
pub(crate) struct Budget {
    nodes: Cell<usize>,
    text: Cell<usize>,
    files: Cell<usize>,
    work: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            nodes: Cell::new(MAX_NODES),
            text: Cell::new(MAX_TEXT_BYTES),
            files: Cell::new(MAX_FILES),
            work: Cell::new(MAX_WORK),
        }
    }
}

impl Budget {
    pub(crate) fn nodes(&self, count: usize) -> Result<(), Exceeded> {
        spend(&self.nodes, count, "it has more than 500000 values, aliases counted as often as they are used")
    }
    pub(crate) fn text(&self, bytes: usize) -> Result<(), Exceeded> {
        spend(
            &self.text,
            bytes,
            "its text is over 64 MiB, aliases and variables counted as often as they are used",
        )
    }
    pub(crate) fn file(&self) -> Result<(), Exceeded> {
        spend(&self.files, 1, "it reads more than 1000 files")
    }
    pub(crate) fn work(&self, nodes: usize) -> Result<(), Exceeded> {
        spend(
            &self.work,
            nodes,
            "it has too many documents for its size, each of which is laid over all others",
        )
    }
}

fn spend(left: &Cell<usize>, amount: usize, what: &'static str) -> Result<(), Exceeded> {
    match left.get().checked_sub(amount) {
        Some(rest) => {
            left.set(rest);
            Ok(())
        }
        None => Err(Exceeded(what)),
    }
}
