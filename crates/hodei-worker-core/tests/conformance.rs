//! The behaviour suite against the fake: bare, and lacking what a provider may lack.

use std::process::ExitCode;

use hodei_worker_core::{
    Capability,
    testkit::{FakeSubject, run},
};

fn main() -> ExitCode {
    let optional = [
        Capability::Watch,
        Capability::Logs,
        Capability::Exec,
        Capability::Monitoring,
        Capability::NativeGroups,
        Capability::Images,
        Capability::Volumes,
        Capability::CpuLimit,
        Capability::MemoryLimit,
        Capability::PidsLimit,
        Capability::SecretFiles,
    ];
    run([FakeSubject::new(), FakeSubject::new().without("least", &optional)])
}
