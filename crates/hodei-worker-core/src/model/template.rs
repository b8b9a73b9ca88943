use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    HealthCheckConfig, Labels, ResourceRequirements, RestartPolicy, ScalingConfiguration, SecretReference,
    WorkerConfigBuilder, WorkerId, WorkerSpec,
};
use crate::{capability::Capability, quantity::HumanDuration};

/// Defaults for workers of one kind. What a worker's own fields leave open comes from here.
///
/// # Examples
/// ```
/// use hodei_worker_core::model::{WorkerConfigBuilder, WorkerSpec, WorkerTemplate};
/// let template: WorkerTemplate = serde_json::from_value(serde_json::json!({
///     "default_resources": {"cpu_limit": "500m"},
///     "default_labels": {"team": "build"},
/// }))?;
/// let mut spec = WorkerSpec::new("a".parse()?);
/// spec.command = vec!["true".into()];
/// let config = WorkerConfigBuilder::from_spec(template.apply(spec)).build()?;
/// assert_eq!(config.resources.cpu_limit.unwrap().to_string(), "500m");
/// assert_eq!(config.metadata.labels["team"], "build");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WorkerTemplate {
    /// Resources, each where the worker leaves it open.
    pub default_resources: ResourceRequirements,
    /// Health checks of a worker that has none.
    pub default_health_checks: Vec<HealthCheckConfig>,
    /// Variables that the worker does not set.
    pub default_environment: BTreeMap<String, String>,
    /// Labels that the worker does not set.
    pub default_labels: Labels,
    /// Secrets in addition to the worker's own.
    pub default_secrets: Vec<SecretReference>,
    /// The restart policy of a worker that names none. One that names `never` keeps it.
    pub default_restart_policy: Option<RestartPolicy>,
    /// Time between the request to stop and the kill.
    pub default_stop_grace: Option<HumanDuration>,
}

impl WorkerTemplate {
    /// The fields, with what they leave open taken from here.
    #[must_use]
    pub fn apply(&self, mut spec: WorkerSpec) -> WorkerSpec {
        spec.resources = spec.resources.or(&self.default_resources);
        if spec.health_checks.is_empty() {
            spec.health_checks.clone_from(&self.default_health_checks);
        }
        for (name, value) in &self.default_environment {
            spec.environment.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for (name, value) in &self.default_labels {
            spec.metadata.labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for secret in &self.default_secrets {
            if !spec.secrets.iter().any(|own| own.target == secret.target) {
                spec.secrets.push(secret.clone());
            }
        }
        spec.restart_policy = spec.restart_policy.or(self.default_restart_policy);
        spec.stop_grace = spec.stop_grace.or(self.default_stop_grace);
        spec
    }

    /// Begins the configuration of a worker with these defaults and its own requirements.
    pub fn worker(&self, worker_id: WorkerId, requirements: &WorkerRequirements) -> WorkerConfigBuilder {
        let mut spec = WorkerSpec::new(worker_id);
        spec.resources = requirements.resource_overrides.clone();
        spec.environment.clone_from(&requirements.environment_vars);
        spec.secrets.clone_from(&requirements.secret_requirements);
        spec.scaling.clone_from(&requirements.scaling_policy);
        WorkerConfigBuilder::from_spec(self.apply(spec))
    }
}

/// What one worker asks of its provider and of its template.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WorkerRequirements {
    /// What the provider must be able to do.
    pub capabilities: Vec<Capability>,
    /// What the provider must be able to give.
    pub min_performance: ResourceRequirements,
    /// Resources that replace the template's.
    pub resource_overrides: ResourceRequirements,
    /// Variables in addition to the template's.
    pub environment_vars: BTreeMap<String, String>,
    /// Secrets in addition to the template's.
    pub secret_requirements: Vec<SecretReference>,
    /// How many of its group there are.
    pub scaling_policy: Option<ScalingConfiguration>,
}

impl WorkerRequirements {
    /// Asks for these capabilities and nothing else.
    pub fn capabilities(capabilities: impl IntoIterator<Item = Capability>) -> Self {
        Self { capabilities: capabilities.into_iter().collect(), ..Self::default() }
    }
}
