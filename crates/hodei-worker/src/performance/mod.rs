//! Where the time of workers goes: until they run, at work, idle, and until they are back after a failure.
//!
//! A [`PerformanceView`] is a fold over events, statuses and jobs. It keeps a few bytes per worker, a record for those
//! that start and for some that did of late, and one set of small histograms per worker type and provider. What it does
//! not keep of a worker can be had from the worker's own stream at any time: [`WorkerPerformance::fold`].
//!
//! # Phases of a start
//!
//! | phase | ends |
//! |---|---|
//! | [`Schedule`](StartPhase::Schedule) | when a place was found for it, where the provider says |
//! | [`Pull`](StartPhase::Pull) | when its image was there, where the provider says or [`reached`](PerformanceView::reached) was told |
//! | [`Create`](StartPhase::Create) | when the provider had created it |
//! | [`Start`](StartPhase::Start) | when its command ran |
//! | [`Ready`](StartPhase::Ready) | when it was found well; only where its health is checked |
//!
//! A phase lasts from the end of the one before it in time, so the phases of a start add up to the whole. The time in
//! which a worker that was created was not asked to run belongs to none.
//!
//! # Examples
//! ```
//! use hodei_worker::{Clock as _, SystemClock, performance::PerformanceView};
//! let view = PerformanceView::default();
//! // … view.observe(&event) for each event, view.status(&status) for each status, jobs as they come …
//! println!("{}", view.report(SystemClock.now()));
//! ```

mod group;
mod histogram;
mod jobs;
mod report;
mod settings;
mod start_up;
mod table;
#[cfg(test)]
mod tests;
mod view;
mod worker;

pub use report::{CostliestPhase, GroupReport, PerformanceReport, Spread, StartReport, WorkerReport};
pub use settings::PerformanceSettings;
pub use start_up::StartPhase;
pub use view::PerformanceView;
pub use worker::WorkerPerformance;
