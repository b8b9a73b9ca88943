//! How the size of a group was changed, and why it was not: what the cluster has written down.

use hodei_worker_core::{Result, Timestamp, model::GroupRef, provider::Operation};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use serde::Serialize;

use crate::{KubernetesProvider, names, provider::Shared, status::timestamp};

/// What the cluster's autoscaler has done to a group, or could not do. The cluster keeps these for an hour, unless it is
/// told otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ScalingEvent {
    /// When it last happened.
    pub time: Timestamp,
    /// How often it has.
    pub count: u32,
    /// The size that it was given, if it was given one.
    pub size: Option<u32>,
    /// One word, as in `SuccessfulRescale` or `FailedGetResourceMetric`.
    pub reason: String,
    /// In the cluster's words.
    pub message: String,
}

impl KubernetesProvider {
    /// What the cluster's autoscaler has done to a group, in the order of time.
    ///
    /// # Errors
    /// What any request to the API server has.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(provider: hodei_worker_k8s::KubernetesProvider) -> Result<(), Box<dyn std::error::Error>> {
    /// for event in provider.scaling_events(&"builders".parse()?).await? {
    ///     println!("{} {:?} {}", event.time, event.size, event.message);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn scaling_events(&self, group: &GroupRef) -> Result<Vec<ScalingEvent>> {
        let shared = self.shared();
        let read = Box::pin(shared.read_scaling_events(group)).await;
        read.map_err(|error| shared.about(Operation::Autoscale, None, error).with_context("group", group))
    }
}

impl Shared {
    async fn read_scaling_events(&self, group: &GroupRef) -> Result<Vec<ScalingEvent>> {
        let name = names::group(&self.view.installation, group);
        let of_autoscaler = format!("involvedObject.kind=HorizontalPodAutoscaler,involvedObject.name={name}");
        let listed = self.cluster.api::<Event>();
        let listed = self.cluster.call(listed.list(&ListParams::default().fields(&of_autoscaler))).await;
        let listed = listed.map_err(|failed| self.cluster.error(failed))?;
        let mut events: Vec<_> = listed.items.into_iter().filter_map(read).collect();
        events.sort_by_key(|event| event.time);
        Ok(events)
    }
}

fn read(event: Event) -> Option<ScalingEvent> {
    let precise = event.event_time.as_ref();
    let precise = precise.and_then(|time| Timestamp::from_nanosecond(time.0.as_nanosecond()).ok());
    let time = event.last_timestamp.as_ref().map(timestamp).or(precise)?;
    let (reason, message) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
    // `New size: 3; reason: …`
    let size =
        message.strip_prefix("New size: ").and_then(|rest| rest.split(';').next()?.trim().parse().ok());
    let count = event.count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
    Some(ScalingEvent { time, count, size, reason, message })
}
