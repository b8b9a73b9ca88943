//! What this machine and this host let the provider do.

use std::path::Path;

use hodei_worker_core::{
    Capability, Error, ProviderCapabilities, Result,
    quantity::{ByteSize, Cpu},
};

use crate::{
    host::Launcher,
    limits::Limits,
    places,
    settings::{ProcessSettings, Survival},
};

/// Decides how workers are run.
pub(crate) fn launcher(settings: &ProcessSettings) -> Result<Launcher> {
    let program =
        settings.supervisor.clone().or_else(|| crate::hook::is_there().then(|| "/proc/self/exe".into()));
    let reason = match (&program, settings.survival) {
        (_, Survival::Attached) => "the setting `survival` says so".to_owned(),
        (None, _) => {
            "this program's `main` does not begin with `init()`, and the setting `supervisor` names no other"
                .to_owned()
        }
        (Some(program), _) => match container(Surroundings::read()) {
            Some(reason) => reason,
            None if program.exists() => return Ok(Launcher::Supervised(program.clone())),
            None => {
                return Err(Error::config(
                    "supervisor",
                    format!("there is no program `{}`", program.display()),
                ));
            }
        },
    };
    if settings.survival == Survival::Required {
        return Err(Error::config("survival", format!("workers would not survive this host: {reason}")));
    }
    Ok(Launcher::Attached(reason))
}

/// What this process ignores, the children that it starts without a supervisor ignore too.
pub(crate) fn check_signals() -> Result<()> {
    const ENDING: [(i32, &str); 4] = [(2, "SIGINT"), (3, "SIGQUIT"), (10, "SIGUSR1"), (15, "SIGTERM")];
    const CHILD: i32 = 17;
    let ignored = crate::supervise::signals::ignored();
    if ignored.contains(&CHILD) {
        return Err(Error::config(
            "survival",
            "this process ignores SIGCHLD, so it would not learn how workers end that are its children",
        )
        .with_help("handle SIGCHLD, or have workers supervised: begin `main` with `init()`"));
    }
    for (_, name) in ENDING.into_iter().filter(|(number, _)| ignored.contains(number)) {
        tracing::warn!(signal = name, "this host ignores a signal, and so will the workers that it starts");
    }
    Ok(())
}

/// Why workers end with the host, whatever supervises them: it lives in a container that ends with it. A container
/// that is a whole system, with a service manager of its own, does not.
fn container(around: Surroundings) -> Option<String> {
    // The machine's own namespace has this number in every kernel since 3.8; files such as `/.dockerenv` prove
    // nothing, they are found in virtual machines made from images.
    const INITIAL: &str = "pid:[4026531836]";
    (around.namespace? != INITIAL && !around.has_service_manager)
        .then(|| "this host lives in a container, which takes all of its processes with it".to_owned())
}

/// What tells whether this process lives in a container.
struct Surroundings {
    /// Of its process numbers.
    namespace: Option<std::ffi::OsString>,
    has_service_manager: bool,
}

impl Surroundings {
    fn read() -> Self {
        Self {
            namespace: std::fs::read_link("/proc/self/ns/pid").ok().map(Into::into),
            has_service_manager: Path::new("/run/systemd/system").exists(),
        }
    }
}

/// What can be done with state in this folder.
pub(crate) fn detect(launcher: &Launcher, limits: &Limits, state: &Path) -> ProviderCapabilities {
    let kernel = rustix::system::uname();
    let version = format!("Linux {}, {}", kernel.release().to_string_lossy(), limits.describe());
    let no_platform = "there is no platform behind a process";
    let mut found = ProviderCapabilities::new(version)
        .with(Capability::Monitoring)
        .with(Capability::Watch)
        .with(Capability::Logs)
        .with(Capability::RawBytes)
        .with(Capability::SplitStreams)
        .with(Capability::LogPositions)
        .with(Capability::Exec)
        .with(Capability::DeferredStart)
        .with(Capability::KeepsEnded)
        .with(Capability::KeepsStopped)
        .with(Capability::RestartInPlace)
        .with(Capability::ExactExit)
        .without(Capability::AutoScaling, no_platform)
        .without(Capability::HealthChecks, no_platform)
        .without(Capability::NativeGroups, no_platform)
        .without(Capability::MultiCluster, "it is one machine")
        .without(Capability::Images, "a process runs from the machine's own files")
        .without(Capability::ImageIds, "a process runs from the machine's own files")
        .without(Capability::Volumes, "there is no platform that would keep them")
        .without(Capability::HostPaths, "a process sees the machine's own files; give it their paths")
        .without(Capability::Tmpfs, "a process sees the machine's own files")
        .without(Capability::Networking, "a process listens on the machine's own addresses")
        .without(Capability::OwnAddresses, "a process listens on the machine's own addresses")
        .without(Capability::PortForward, "a process listens on the machine's own addresses")
        .without(Capability::Security, "a process is isolated by its user alone")
        .without(Capability::Pause, "not offered");
    found = match launcher {
        Launcher::Supervised(_) => found.with(Capability::SurvivesHost),
        Launcher::Attached(reason) => found.without(Capability::SurvivesHost, reason.clone()),
    };
    found = if places::in_memory(state) {
        found.with(Capability::SecretFiles)
    } else {
        let reason = format!(
            "secret files would be written to a disk below `{}`; name a folder in memory (tmpfs) in the setting \
             `state_dir`",
            state.display()
        );
        found.without(Capability::SecretFiles, reason)
    };
    found = limits.declare(found);
    if matches!(launcher, Launcher::Attached(_)) && found.supports(Capability::PidsLimit) {
        // Without a supervisor it joins its group only when it runs, and what it has started by then stays outside.
        let reason = "an attached worker's first moments are outside of its group";
        found = found.without(Capability::PidsLimit, reason);
    }
    found.total_cpu = std::thread::available_parallelism().ok().map(|cpus| Cpu::cores(cpus.get() as u32));
    let info = rustix::system::sysinfo();
    found.total_memory = u64::from(info.mem_unit).checked_mul(info.totalram).map(ByteSize::new);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_nothing_survives_in_a_container_without_a_service_manager() {
        let around = |namespace: Option<&str>, has_service_manager| Surroundings {
            namespace: namespace.map(Into::into),
            has_service_manager,
        };
        assert_eq!(container(around(Some("pid:[4026531836]"), false)), None);
        assert_eq!(container(around(Some("pid:[4026532218]"), true)), None);
        assert_eq!(container(around(None, false)), None);
        assert!(
            container(around(Some("pid:[4026532218]"), false)).is_some_and(|why| why.contains("container"))
        );
    }
}
