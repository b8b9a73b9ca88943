//! The behaviour suite against real local processes: under supervisors, which outlive their host, and attached to it.

mod subject;

use std::process::ExitCode;

use hodei_worker_core::testkit::run;
use hodei_worker_process::Survival;
use subject::{Processes, in_a_folder};

fn main() -> ExitCode {
    hodei_worker_process::init();
    in_a_folder(|base| {
        let subject = |name, survival| Processes { name, survival, base: base.join(name) };
        run([subject("process", Survival::Required), subject("process-attached", Survival::Attached)])
    })
}
