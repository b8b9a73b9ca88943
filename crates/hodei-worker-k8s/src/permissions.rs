//! What a host has to be allowed in its namespace: a Role for exactly what it does.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use hodei_worker_core::{Result, provider::Operation};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::{KubernetesProvider, group, provider::Shared, usage};

/// Questions that are asked at once.
const AT_ONCE: usize = 8;

/// What a host may use of a cluster besides pods that come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ClusterFeature {
    /// Output of workers.
    Logs,
    /// Commands in workers.
    Exec,
    /// The streams of workers' own programs: [`KubernetesProvider::attach`].
    Attach,
    /// Connections to ports of workers, and so their health checks by a host outside of the cluster.
    Ports,
    /// Secrets of workers.
    Secrets,
    /// Named volumes.
    Volumes,
    /// [`ServiceOptions`](crate::ServiceOptions).
    Services,
    /// [`ConfigMapOptions`](crate::ConfigMapOptions).
    ConfigMaps,
    /// [`TrafficOptions`](crate::TrafficOptions).
    NetworkPolicies,
    /// [`min_available`](crate::KubernetesOptions::min_available).
    DisruptionBudgets,
    /// What workers use.
    Usage,
    /// Groups that the cluster keeps at their size.
    Groups,
    /// Groups that the cluster sizes by itself: with [`Groups`](Self::Groups).
    Autoscaling,
    /// What the cluster has written down of that: [`KubernetesProvider::scaling_events`].
    ScalingEvents,
}

impl ClusterFeature {
    const ALL: [Self; 14] = [
        Self::Logs,
        Self::Exec,
        Self::Attach,
        Self::Ports,
        Self::Secrets,
        Self::Volumes,
        Self::Services,
        Self::ConfigMaps,
        Self::NetworkPolicies,
        Self::DisruptionBudgets,
        Self::Usage,
        Self::Groups,
        Self::Autoscaling,
        Self::ScalingEvents,
    ];

    /// A resource with its API group, and what is done to it.
    const fn needs(self) -> (&'static str, &'static str, &'static [&'static str]) {
        match self {
            Self::Logs => ("", "pods/log", &["get"]),
            // API servers from 1.35 on ask for `create` where a websocket is opened.
            Self::Exec => ("", "pods/exec", &["create", "get"]),
            Self::Attach => ("", "pods/attach", &["create", "get"]),
            Self::Ports => ("", "pods/portforward", &["create", "get"]),
            // One that an attempt has left which was cut off is written over.
            Self::Secrets => ("", "secrets", &["create", "patch"]),
            Self::Volumes => {
                ("", "persistentvolumeclaims", &["create", "delete", "get", "list", "patch", "watch"])
            }
            Self::Services => ("", "services", &["create", "get", "patch"]),
            Self::ConfigMaps => ("", "configmaps", &["create", "get", "patch"]),
            Self::NetworkPolicies => ("networking.k8s.io", "networkpolicies", &["create", "get", "patch"]),
            Self::DisruptionBudgets => ("policy", "poddisruptionbudgets", &["create", "get", "patch"]),
            Self::Usage => (usage::GROUP, "pods", &["get"]),
            Self::Groups => ("apps", "deployments", &["create", "delete", "get", "list", "patch", "watch"]),
            Self::Autoscaling => {
                (group::AUTOSCALING, "horizontalpodautoscalers", &["create", "delete", "get", "patch"])
            }
            Self::ScalingEvents => ("", "events", &["list"]),
        }
    }
}

/// What every host does.
const WORKERS: (&str, &str, &[&str]) = ("", "pods", &["create", "delete", "get", "list", "patch", "watch"]);

/// What a host has to be allowed in its namespace, for the features that it uses and nothing else. Where the admission
/// plugin `OwnerReferencesPermissionEnforcement` is on, a host that shares Services or ConfigMaps among workers has to be
/// allowed to `delete` these as well.
///
/// # Examples
/// ```
/// use hodei_worker_k8s::{ClusterFeature, Permissions};
/// let permissions = Permissions::for_workers().and(ClusterFeature::Logs);
/// assert_eq!(permissions.rules().last().unwrap().to_string(), "get pods/log");
/// // For `kubectl apply -f -`.
/// println!("{}", permissions.manifest("workers", "my-host"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions(BTreeSet<ClusterFeature>);

/// One resource, and what is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PermissionRule {
    /// The API group; empty for the core group.
    pub group: String,
    /// As in `pods` or `pods/log`.
    pub resource: String,
    /// As in `get`.
    pub verbs: Vec<String>,
}

impl std::fmt::Display for PermissionRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verbs.join(", "), self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

impl Permissions {
    /// To create, start, stop, delete, list and watch workers.
    pub fn for_workers() -> Self {
        Self(BTreeSet::new())
    }
    /// This as well.
    #[must_use]
    pub fn and(mut self, feature: ClusterFeature) -> Self {
        self.0.insert(feature);
        self
    }
    /// For all that this provider can do.
    pub fn all() -> Self {
        Self(ClusterFeature::ALL.into_iter().collect())
    }

    /// What is to be allowed.
    pub fn rules(&self) -> Vec<PermissionRule> {
        let all = std::iter::once(WORKERS).chain(self.0.iter().map(|feature| feature.needs()));
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let rule = |(group, resource, verbs): (&str, &str, &[&str])| PermissionRule {
            group: group.to_owned(),
            resource: resource.to_owned(),
            verbs: words(verbs),
        };
        all.map(rule).collect()
    }

    /// A service account, a Role and their binding, all of that name, as one JSON document that `kubectl apply` takes.
    pub fn manifest(&self, namespace: &str, name: &str) -> String {
        let metadata = json!({"name": name, "namespace": namespace});
        let rules: Vec<Value> = self
            .rules()
            .into_iter()
            .map(|rule| json!({"apiGroups": [rule.group], "resources": [rule.resource], "verbs": rule.verbs}))
            .collect();
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        let all = json!({
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
                {"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules},
                {
                    "apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
                    "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                    "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
                },
            ],
        });
        format!("{all:#}")
    }
}

impl KubernetesProvider {
    /// What of it this host is not allowed in its namespace, by the API server's own word. One request for each verb.
    ///
    /// # Errors
    /// What any request to the API server has. Who may do what is itself a question that everybody may ask, unless the
    /// cluster's administrator took that away ([`PermissionDenied`](hodei_worker_core::ErrorKind::PermissionDenied)).
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(provider: hodei_worker_k8s::KubernetesProvider) -> Result<(), Box<dyn std::error::Error>> {
    /// use hodei_worker_k8s::{ClusterFeature, Permissions};
    /// let needed = Permissions::for_workers().and(ClusterFeature::Logs);
    /// for missing in provider.missing_permissions(&needed).await? {
    ///     eprintln!("this host may not {missing}");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn missing_permissions(&self, needed: &Permissions) -> Result<Vec<PermissionRule>> {
        let shared = self.shared();
        let missing = shared.missing(needed).await;
        missing.map_err(|error| shared.about(Operation::Capabilities, None, error))
    }
}

impl Shared {
    async fn missing(&self, needed: &Permissions) -> Result<Vec<PermissionRule>> {
        let each = needed.rules().into_iter().flat_map(|rule| {
            let one = |verb: &String| PermissionRule { verbs: vec![verb.clone()], ..rule.clone() };
            rule.verbs.iter().map(one).collect::<Vec<_>>()
        });
        let answers: Vec<Option<PermissionRule>> = stream::iter(each)
            .map(|one| async move {
                let verb = one.verbs.first().map(String::as_str).unwrap_or_default();
                let may = self.may(&one.group, &one.resource, verb).await?;
                Ok::<_, hodei_worker_core::Error>((!may).then_some(one))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut missing: Vec<PermissionRule> = Vec::new();
        for one in answers.into_iter().flatten() {
            let same =
                |last: &&mut PermissionRule| (&last.group, &last.resource) == (&one.group, &one.resource);
            match missing.last_mut().filter(same) {
                Some(last) => last.verbs.extend(one.verbs),
                None => missing.push(one),
            }
        }
        Ok(missing)
    }

    /// Whether this host may do that, by the API server's own word.
    pub(crate) async fn may(&self, group: &str, resource: &str, verb: &str) -> Result<bool> {
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, sub)) => (resource, Some(sub.to_owned())),
            None => (resource, None),
        };
        let question = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(self.cluster.namespace.clone()),
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.cluster.client.clone());
        let answer = self.cluster.call(reviews.create(&PostParams::default(), &question)).await;
        let answer = answer.map_err(|failed| self.cluster.error(failed))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // These are tests.
mod tests {
    use super::*;

    #[test]
    fn k12_a_role_has_what_the_features_need_and_nothing_else() {
        let rules = |permissions: &Permissions| -> Vec<String> {
            permissions.rules().iter().map(ToString::to_string).collect()
        };
        assert_eq!(rules(&Permissions::for_workers()), ["create, delete, get, list, patch, watch pods"]);
        let some = Permissions::for_workers().and(ClusterFeature::Exec).and(ClusterFeature::Logs);
        assert_eq!(rules(&some)[1..], ["get pods/log", "create, get pods/exec"]);
        let some_use = Permissions::for_workers().and(ClusterFeature::Usage);
        assert_eq!(rules(&some_use)[1..], ["get pods.metrics.k8s.io"]);
        assert_eq!(rules(&Permissions::all()).len(), 1 + ClusterFeature::ALL.len());
        let manifest: Value = serde_json::from_str(&some.manifest("here", "me")).unwrap();
        assert_eq!(manifest["items"][1]["rules"][1]["resources"][0], "pods/log");
        assert_eq!(manifest["items"][2]["subjects"][0]["namespace"], "here");
    }
}
