//! Local processes that are measured: where they keep things, and finding them.

use std::path::{Path, PathBuf};

use hodei_worker::process::{ProcessSettings, Survival};

/// The variable that marks the processes of one installation.
pub const MARK: &str = "HODEI_BENCH_INSTALLATION";

/// Settings with folders of the measurements' own: state in memory, as it is by default, logs on a disk.
pub fn settings(survival: Survival) -> ProcessSettings {
    let mut settings = ProcessSettings::default();
    settings.state_dir = Some(memory().join("state"));
    settings.log_dir = Some(std::env::temp_dir().join("hodei-bench/logs"));
    settings.survival = survival;
    // By it the sweep after a run that was cut off knows the workers.
    settings.inherit.push("HODEI_TEST_RUN".into());
    settings
}

/// A folder in memory, where there is one.
pub fn memory() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let base = match std::env::var_os("HODEI_TEST_MEMORY") {
        Some(named) => named.into(),
        None if shared.is_dir() => shared.to_owned(),
        None => std::env::temp_dir(),
    };
    base.join("hodei-bench")
}

/// Removes the folders of an installation that is done.
pub fn clear(installation: &str) {
    let settings = settings(Survival::Auto);
    for folder in [settings.state_dir, settings.log_dir].into_iter().flatten() {
        let _ = std::fs::remove_dir_all(folder.join(installation));
    }
}

/// The processes whose environment carries the installation's mark.
pub fn marked(installation: &str) -> Vec<u32> {
    let mark = format!("{MARK}={installation}");
    let carries = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    all().filter(carries).collect()
}

/// All processes that there are.
pub fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
