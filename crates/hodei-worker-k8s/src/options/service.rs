use serde::{Deserialize, Serialize};

use super::is_default;

/// A Service before workers: one name and one address that leads to those of them that are ready.
///
/// # Examples
/// ```
/// use hodei_worker_core::{WorkerConfig, model::Port};
/// use hodei_worker_k8s::{KubernetesOptions, ServiceOptions};
/// let options = KubernetesOptions::default().user(1000).service(ServiceOptions::of_group("web"));
/// let config = WorkerConfig::builder("web-1").worker_type("web").image("nginx:1.27").port(Port::tcp(8080));
/// let config = config.options(&options).build()?;
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ServiceOptions {
    /// Its name, by which it is found in the cluster.
    pub name: String,
    /// Which workers it leads to. Default: this one alone, in whatever generation.
    #[serde(skip_serializing_if = "is_default")]
    pub of: ServiceScope,
    /// Whether it has no address of its own, so that its name leads to those of the workers. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub headless: bool,
}

impl ServiceOptions {
    /// A Service of this worker.
    pub fn of_worker(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
    /// One of all workers of this one's type.
    pub fn of_group(name: impl Into<String>) -> Self {
        Self { of: ServiceScope::Group, ..Self::of_worker(name) }
    }
    /// Without an address of its own.
    #[must_use]
    pub fn headless(mut self) -> Self {
        self.headless = true;
        self
    }
}

/// Which workers a Service leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServiceScope {
    /// The worker.
    #[default]
    Worker,
    /// All workers of its type.
    Group,
}
