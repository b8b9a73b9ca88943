//! Supervises workers for hosts without the hook in their `main`. Started by their process provider.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Does not return in a supervisor.
    hodei_worker_process::init();
    eprintln!("hodei-supervise is started by hodei-worker: name its path in the process provider's settings");
    ExitCode::from(2)
}
