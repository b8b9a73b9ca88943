//! The providers that are measured and shaken, each in a place of its own.

use std::{path::PathBuf, sync::Arc};

use hodei_worker::{
    ConnectContext, ProviderSettings as _, WorkerProvider,
    docker::DockerSettings,
    model::WorkerConfigBuilder,
    process::{ProcessSettings, Survival},
};

use crate::Outcome;

/// A provider that can be connected to again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Local processes under supervisors.
    Process,
    /// Local processes that are their host's children.
    Attached,
    /// Containers of the engine that `HODEI_TEST_DOCKER_HOST` names.
    Docker,
}

/// The variable that marks the processes of one installation.
pub const MARK: &str = "HODEI_BENCH_INSTALLATION";

impl Place {
    /// The place of that name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn named(name: &str) -> Outcome<Self> {
        match name {
            "process" => Ok(Self::Process),
            "docker" => Ok(Self::Docker),
            other => Err(format!("there is no provider `{other}` here, only process and docker").into()),
        }
    }
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Attached => "process (attached)",
            Self::Docker => "docker",
        }
    }

    /// Connects without policies, as this installation.
    ///
    /// # Errors
    /// Where the provider cannot be reached.
    pub async fn connect(self, installation: &str) -> Outcome<Arc<dyn WorkerProvider>> {
        let context = ConnectContext::new("bench".parse()?, installation.parse()?);
        Ok(match self {
            Self::Docker => Arc::new(DockerSettings::at(docker_host()?).connect(context).await?),
            _ => {
                let mut settings = ProcessSettings::default();
                settings.state_dir = Some(folder("state"));
                settings.log_dir = Some(folder("logs"));
                settings.survival =
                    if self == Self::Attached { Survival::Attached } else { Survival::Required };
                Arc::new(settings.connect(context).await?)
            }
        })
    }

    /// With an image where there must be one, and the installation's mark.
    pub fn prepare(self, builder: WorkerConfigBuilder, installation: &str) -> WorkerConfigBuilder {
        let builder = builder.env(MARK, installation);
        if self == Self::Docker { builder.image(image().as_str()) } else { builder }
    }

    /// What processes hold besides the mark; removed with the last of an installation.
    pub fn clear(self, installation: &str) {
        if self != Self::Docker {
            for folder in [folder("state"), folder("logs")] {
                let _ = std::fs::remove_dir_all(folder.join(installation));
            }
        }
    }
}

fn folder(name: &str) -> PathBuf {
    // State in memory, as it is by default.
    let base = if name == "state" { PathBuf::from("/run") } else { std::env::temp_dir() };
    let base = if base.is_dir() { base } else { std::env::temp_dir() };
    base.join("hodei-bench").join(name)
}

/// The engine to measure.
///
/// # Errors
/// Where none is named.
pub fn docker_host() -> Outcome<String> {
    let host = std::env::var("HODEI_TEST_DOCKER_HOST");
    host.map_err(|_| "HODEI_TEST_DOCKER_HOST names no engine; `cargo xtask bench` starts one".into())
}

/// The image to run.
pub fn image() -> String {
    std::env::var("HODEI_TEST_IMAGE").unwrap_or_else(|_| "hodei-test/busybox:1".to_owned())
}

/// The processes whose environment carries the installation's mark.
pub fn marked(installation: &str) -> Vec<u32> {
    let mark = format!("{MARK}={installation}");
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    })
    .collect()
}
