use std::{path::PathBuf, time::Duration};

use hodei_worker_core::{
    ConnectContext, ProviderSettings, Result,
    factory::{Detected, Environment},
    lifecycle::RecoverySettings,
    model::ValidationRules,
    quantity::HumanDuration,
    settings::Problems,
};
use serde::{Deserialize, Serialize};

use crate::KubernetesProvider;

/// No API server is waited for longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Where the cluster is and how it is used.
///
/// # Examples
/// ```
/// use hodei_worker_core::settings::read;
/// use hodei_worker_k8s::KubernetesSettings;
/// let parsed = read::<KubernetesSettings>(&serde_json::json!({
///     "context": "production",
///     "namespace": "workers",
/// }));
/// assert!(parsed.problems.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct KubernetesSettings {
    /// The kubeconfig file. Default: those that `KUBECONFIG` names, or else `~/.kube/config`, or else, inside of a pod,
    /// the pod's service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig. Default: its current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The namespace in which workers run. It has to exist. Default: the context's, or the pod's own, or else `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Time between the request to stop and the kill, where neither the call nor the worker says; rounded up to whole
    /// seconds, as the cluster counts. Default: 25 s.
    pub default_stop_grace: HumanDuration,
    /// How long a worker that says nothing of its recovery stays on a node that does not answer any more; rounded up to
    /// whole seconds. Default: 30 s, as a recovery's own.
    pub node_loss: HumanDuration,
    /// Time for a connection to come about, TLS included. Default: 5 s.
    pub connect_timeout: HumanDuration,
    /// Time for the API server to begin its answer. Default: 30 s.
    pub request_timeout: HumanDuration,
    /// Whether this host reaches pods at their own addresses: then statuses tell them. Default: whether this host is a
    /// pod itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaches_pods: Option<bool>,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespace: None,
            default_stop_grace: HumanDuration::secs(25),
            node_loss: RecoverySettings::default().node_loss,
            connect_timeout: HumanDuration::secs(5),
            request_timeout: HumanDuration::secs(30),
            reaches_pods: None,
        }
    }
}

impl KubernetesSettings {
    /// The cluster of this kubeconfig's current context, otherwise the defaults.
    pub fn from_kubeconfig(path: impl Into<PathBuf>) -> Self {
        Self { kubeconfig: Some(path.into()), ..Self::default() }
    }
    /// In this context of the kubeconfig.
    #[must_use]
    pub fn in_context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }
    /// In this namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }
}

impl ProviderSettings for KubernetesSettings {
    const TYPE: &'static str = "kubernetes";
    type Provider = KubernetesProvider;

    fn rules(rules: ValidationRules) -> ValidationRules {
        rules.with_options::<crate::KubernetesOptions>()
    }

    fn validate(&self, problems: &mut Problems) {
        if let Some(context) = &self.context {
            problems.require(!context.is_empty(), "context", "the name is empty");
        }
        if let Some(namespace) = &self.namespace {
            let good = is_label(namespace);
            problems.require(good, "namespace", format!("`{namespace}` cannot be a namespace: {LABEL}"));
        }
        for (path, value) in
            [("connect_timeout", self.connect_timeout), ("request_timeout", self.request_timeout)]
        {
            problems.require(!value.is_zero(), path, "must be longer than 0");
            problems.require(value.get() <= LONGEST, path, "must not be longer than a day");
        }
    }

    fn detect(environment: &Environment) -> Option<Detected<Self>> {
        crate::client::detect(environment)
    }

    async fn connect(self, context: ConnectContext) -> Result<KubernetesProvider> {
        KubernetesProvider::connect(self, context).await
    }
}

/// What a label of DNS is.
const LABEL: &str = "1 to 63 of the letters a to z, digits and `-`, with a letter or digit at both ends";

/// Whether it is a label of DNS (RFC 1123), as names of namespaces are.
pub(crate) fn is_label(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(inner)
        && bytes.last().is_some_and(inner)
        && bytes.iter().all(|byte| inner(byte) || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(value: serde_json::Value) -> Vec<String> {
        let parsed = hodei_worker_core::settings::read::<KubernetesSettings>(&value);
        let mut problems = parsed.problems;
        if let Some(settings) = parsed.value {
            settings.validate(&mut problems);
        }
        problems.iter().map(|problem| problem.path.clone()).collect()
    }

    #[test]
    fn k1_settings_are_checked_with_the_field_at_fault() {
        assert_eq!(problems(serde_json::json!({})), Vec::<String>::new());
        assert_eq!(problems(serde_json::json!({"namespace": "Not_Good"})), ["namespace"]);
        assert_eq!(problems(serde_json::json!({"namespace": "a".repeat(64)})), ["namespace"]);
        assert_eq!(
            problems(serde_json::json!({"context": "", "connect_timeout": "0s"})),
            ["context", "connect_timeout"]
        );
        assert_eq!(problems(serde_json::json!({"kubeconfg": "x"})), ["kubeconfg"]);
    }
}
