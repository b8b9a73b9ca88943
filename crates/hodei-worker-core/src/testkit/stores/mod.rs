//! The behaviour suite of the stores.
//!
//! A store's whole conformance test is a few lines, with `harness = false` in its `Cargo.toml`:
//!
//! ```no_run
//! use hodei_worker_core::testkit::stores::{MemorySubject, run};
//! fn main() -> std::process::ExitCode {
//!     run([MemorySubject::alone(), MemorySubject::shared()])
//! }
//! ```
//!
//! Bring your own [`StoreSubject`]. Cases of leases run where the store has some; where it has none, the negative does.

mod cases;
mod context;
mod damage;
mod memory;
mod run;
mod subject;

pub use damage::{DamageReport, FolderSubject, damage};
pub use memory::MemorySubject;
pub use run::run;
pub use subject::{StorePlace, StoreSubject};
