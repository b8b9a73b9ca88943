//! A worker's pod: made, started, stopped, deleted.

pub(crate) mod check;
mod create;
mod delete;
mod find;
pub(crate) mod spec;
mod start;
mod stop;
