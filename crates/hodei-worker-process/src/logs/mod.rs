//! A worker's output on disk.

pub(crate) mod format;
mod write;

pub(crate) use format::Kind;
pub(crate) use write::{LogWriter, Pump};
