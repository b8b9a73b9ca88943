//! The store of credentials in memory behaves as every store of credentials does.

use hodei_worker_core::testkit::credentials::{MemorySubject, run};

fn main() -> std::process::ExitCode {
    run([MemorySubject])
}
