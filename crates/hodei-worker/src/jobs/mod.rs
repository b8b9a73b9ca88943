//! Which workers have jobs: so that a drain waits for them, and scaling in spares who is busy.
//!
//! The library does not carry jobs, it only has to know of them, by either of two ways:
//!
//! - The host that hands a job to a worker holds a [`JobGuard`] for as long as it takes.
//! - A worker whose configuration says [`reports`](crate::model::WorkerSpec::reports) says it itself, on its standard
//!   output.
//!
//! Where nobody does either, the run is the job: a drain stops the worker at once, and its grace is its own.
//!
//! # What a worker says
//! A line of its standard output that is exactly one of these, ended by a line feed (or a carriage return and a line
//! feed):
//!
//! ```text
//! ::hodei busy
//! ::hodei idle
//! ::hodei heartbeat
//! ```
//!
//! `busy`: it has something to do from now on, and counts as one job, however often it says so. `idle`: it has not. Until
//! it says anything, it is idle. `heartbeat`: it lives; so do the other two say, and a
//! [heartbeat check](crate::model::Probe::Heartbeat) counts all three. A line with anything else in it, a space before or
//! behind included, is output like any other. Flush after each: many runtimes hold output back when it goes to no
//! terminal.
//!
//! Why standard output, and not a file or a call to the host: it works on every provider that has logs, in a container
//! without a shell and on another machine. It needs no address, no credential and nothing that listens; what a worker
//! says while its host is down is read by the next one. It costs one log stream per worker that opted in, and a host that
//! starts looks at the last 1,000 lines only: a worker that writes much says now and then again that it is busy.

mod changes;
mod line;
mod recorder;
mod registry;
mod reports;
#[cfg(test)]
mod tests;

pub use changes::{JobsChanged, JobsChanges};
pub use recorder::JobRecorder;
pub use registry::{JobGuard, Jobs};
pub use reports::Reports;
