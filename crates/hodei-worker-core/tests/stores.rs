//! The behaviour suite of the stores against the store in memory, for one host and shared.

use std::process::ExitCode;

use hodei_worker_core::testkit::stores::{MemorySubject, run};

fn main() -> ExitCode {
    run([MemorySubject::alone(), MemorySubject::shared()])
}
