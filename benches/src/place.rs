//! The providers that are measured and shaken, each in a place of its own.

use std::sync::Arc;

use hodei_worker::{
    ConnectContext, ProviderSettings as _, WorkerProvider,
    docker::DockerSettings,
    kubernetes::{KubernetesOptions, KubernetesSettings},
    model::WorkerConfigBuilder,
    policy::{PolicySettings, Stack},
    process::Survival,
};

use crate::{
    Outcome,
    processes::{self, MARK},
};

/// A provider that can be connected to again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Local processes under supervisors.
    Process,
    /// Local processes that are their host's children.
    Attached,
    /// Containers of the engine that `HODEI_TEST_DOCKER_HOST` names.
    Docker,
    /// Pods of the cluster that `HODEI_TEST_KUBECONFIG` leads to.
    Kubernetes,
}

impl Place {
    /// The place of that name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn named(name: &str) -> Outcome<Self> {
        match name {
            "process" => Ok(Self::Process),
            "docker" => Ok(Self::Docker),
            "kubernetes" => Ok(Self::Kubernetes),
            other => {
                Err(format!("there is no provider `{other}` here, only process, docker and kubernetes")
                    .into())
            }
        }
    }
    /// How many workers its operations are measured with, one after the other: a pod takes some seconds.
    pub fn rounds(self) -> usize {
        if self == Self::Kubernetes { 30 } else { 100 }
    }
    /// The seconds within which a worker is to be stopped (T4), beyond the default grace: 4 s, or 25 s for a pod.
    pub fn stop_target(self) -> u64 {
        if self == Self::Kubernetes { 30 } else { 5 }
    }
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Attached => "process (attached)",
            Self::Docker => "docker",
            Self::Kubernetes => "kubernetes",
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
            Self::Kubernetes => Arc::new(cluster()?.connect(context).await?),
            Self::Process => Arc::new(processes::settings(Survival::Required).connect(context).await?),
            Self::Attached => Arc::new(processes::settings(Survival::Attached).connect(context).await?),
        })
    }

    /// Connects as this installation, with the standard policies.
    ///
    /// # Errors
    /// Where the provider cannot be reached.
    pub async fn connect_with_policies(self, installation: &str) -> Outcome<Arc<dyn WorkerProvider>> {
        let provider = self.connect(installation).await?;
        Ok(Stack::standard(provider, &PolicySettings::default()))
    }

    /// With an image where there must be one, and the installation's mark.
    pub fn prepare(self, builder: WorkerConfigBuilder, installation: &str) -> WorkerConfigBuilder {
        let builder = builder.env(MARK, installation);
        match self {
            Self::Docker => builder.image(image().as_str()),
            Self::Kubernetes => {
                builder.image(pod_image().as_str()).options(&KubernetesOptions::default().user(65_534))
            }
            _ => builder,
        }
    }

    /// What processes hold besides the mark; removed with the last of an installation.
    pub fn clear(self, installation: &str) {
        if matches!(self, Self::Process | Self::Attached) {
            processes::clear(installation);
        }
    }
}

/// The engine to measure.
///
/// # Errors
/// Where none is named.
pub fn docker_host() -> Outcome<String> {
    let host = std::env::var("HODEI_TEST_DOCKER_HOST");
    host.map_err(|_| "HODEI_TEST_DOCKER_HOST names no engine; `cargo xtask bench` starts one".into())
}

/// The cluster to measure.
///
/// # Errors
/// Where none is named.
pub fn cluster() -> Outcome<KubernetesSettings> {
    let file = std::env::var("HODEI_TEST_KUBECONFIG");
    let file = file.map_err(|_| "HODEI_TEST_KUBECONFIG names no cluster; `cargo xtask bench` starts one")?;
    Ok(KubernetesSettings::from_kubeconfig(file).in_namespace("default"))
}

/// The image of pods.
pub fn pod_image() -> String {
    std::env::var("HODEI_TEST_KUBERNETES_IMAGE").unwrap_or_else(|_| "hodei-test/busybox:1".to_owned())
}

/// The image to run.
pub fn image() -> String {
    std::env::var("HODEI_TEST_IMAGE").unwrap_or_else(|_| "hodei-test/busybox:1".to_owned())
}
