//! A worker's output on disk.

mod follow;
pub(crate) mod format;
mod home;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use format::Kind;
pub(crate) use home::{home, sweep_lost};
pub(crate) use write::{Lines, LogWriter, Pump, make_folder};
