//! What the measurements share: samples, intervals, a table, a plot, and the providers that are measured.

pub mod aim;
pub mod leftovers;
pub mod place;
pub mod plot;
pub mod processes;
pub mod program;
pub mod sample;
pub mod slow_disk;
pub mod still;
pub mod table;

/// What a measurement ends with. Whatever goes wrong ends it.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
