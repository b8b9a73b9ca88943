//! A worker's pod: made, started, stopped, deleted.

pub(crate) mod check;
mod create;
mod delete;
mod find;
pub(crate) mod placement;
pub(crate) mod spec;
mod start;
mod stop;

/// Pods that an API server is asked for at once: few requests, and no answer that is too large to be held.
pub(crate) const PAGE: u32 = 1000;
