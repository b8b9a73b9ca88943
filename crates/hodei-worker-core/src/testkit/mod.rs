//! What proves a provider: the behaviour suite, a scriptable fake, and small helpers for tests.
//!
//! A provider's whole conformance test is a few lines, with `harness = false` in its `Cargo.toml`:
//!
//! ```no_run
//! use hodei_worker_core::testkit::{FakeSubject, run};
//! fn main() -> std::process::ExitCode {
//!     run([FakeSubject::new()])
//! }
//! ```
//!
//! Bring your own [`Subject`]: how to connect, how a configuration of your provider begins, and how to find out
//! whether something was left behind. Cases are named by the ids of the specification. A case that needs a
//! capability which the provider lacks is reported as ignored, with the reason, after its negative has been
//! tried: the operation answers `Unsupported` and creates nothing.
//!
//! [`stores`] has the suite of the stores, [`credentials`] that of stores of credentials.

mod cases;
mod clock;
mod context;
pub mod credentials;
mod disk;
mod eventually;
mod fake;
mod polls;
mod program;
mod report;
mod run;
pub mod stores;
mod subject;

pub use clock::ManualClock;
pub use context::{CaseContext, CaseFailure, CaseResult};
pub use disk::SmallDisk;
pub use eventually::eventually;
pub use fake::{FakePlatform, FakeProvider, FakeSettings, FakeSubject, Fault};
pub use polls::polled;
pub use program::Program;
pub use run::{case_names, failures, run};
pub use subject::{Planted, Subject};
