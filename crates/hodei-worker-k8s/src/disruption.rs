//! How many pods drains of nodes leave running: a PodDisruptionBudget that goes with them.

use std::collections::BTreeMap;

use hodei_worker_core::{Result, model::Ownership};
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, OwnerReference},
        util::intstr::IntOrString,
    },
};
use kube::api::ObjectMeta;

use crate::{KubernetesOptions, provider::Shared};

impl Shared {
    /// The budget of the pods that these labels mean, before they are started.
    pub(crate) async fn give_disruption_budget(
        &self,
        name: &str,
        selected: BTreeMap<String, String>,
        owner: &OwnerReference,
        options: &KubernetesOptions,
        ownership: &Ownership,
    ) -> Result<()> {
        let Some(least) = options.min_available else { return Ok(()) };
        let budget = PodDisruptionBudget {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(ownership.to_labels().into_iter().collect()),
                owner_references: Some(vec![owner.clone()]),
                ..ObjectMeta::default()
            },
            spec: Some(PodDisruptionBudgetSpec {
                min_available: Some(IntOrString::Int(i32::try_from(least).unwrap_or(i32::MAX))),
                selector: Some(LabelSelector { match_labels: Some(selected), ..LabelSelector::default() }),
                // One that is not well has nothing to lose.
                unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
                ..PodDisruptionBudgetSpec::default()
            }),
            status: None,
        };
        let changes = serde_json::json!({"spec": budget.spec});
        self.share(&budget, changes, |_| Ok(())).await.map(drop)
    }
}
