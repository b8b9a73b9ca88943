//! Less work for workers that are less well, and for those that are not: low-priority work goes first, critical work
//! stays, and whoever asks is told.
//!
//! - A worker's [weight](weight()) says in percent how much of its share of work it gets: all while it is well, less while
//!   it is degraded, nothing while it does not run.
//! - [`Degradation::choose`] picks a worker for new work: by weight, and those that have less to do first.
//! - [`Degradation::admit`] says whether new work may begin on a worker. Work of a priority is refused when that work and
//!   all that is at least as important would be more than the group's capacity; what was refused is let in again only
//!   when there is some room to spare, so that nothing flaps.
//! - [`Degradation::begin`] admits a job, counts it, and begins it in the registry of [jobs](crate::jobs).
//! - [`shed_work`] and [`shed_workers`] say what has to go where there is too much already.
//!
//! Priorities are plain numbers: 0 is the usual, below is what can wait, and from
//! [`critical`](DegradationSettings::critical) on nothing is refused that can be done at all.
//!
//! # Examples
//! ```
//! use hodei_worker::{ErrorKind, degradation::Degradation};
//! # fn example(degradation: Degradation, group: hodei_worker::model::GroupRef) -> hodei_worker::Result<()> {
//! match degradation.choose(Some(&group), -5) {
//!     Ok(worker) => println!("to {worker}"),
//!     Err(error) if error.kind() == ErrorKind::Overloaded => {
//!         println!("{error}; again after {:?}", error.retry_after());
//!     }
//!     Err(error) => return Err(error),
//! }
//! # Ok(()) }
//! ```

mod group;
mod handle;
mod job;
mod settings;
mod shed;
#[cfg(test)]
mod tests;
mod weight;

pub use group::GroupCapacity;
pub use handle::Degradation;
pub use job::AdmittedJob;
pub use settings::DegradationSettings;
pub use shed::{Sheddable, shed_work, shed_workers};
pub use weight::weight;
