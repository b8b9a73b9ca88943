//! A worker's pod: made, started, stopped, deleted.

mod check;
mod create;
mod delete;
mod find;
pub(crate) mod spec;
mod start;
mod stop;
