//! What has the cluster size a group by itself: a HorizontalPodAutoscaler.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp,
    model::{GroupRef, ScalingConfiguration, labels},
    provider::Operation,
    quantity::HumanDuration,
};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        autoscaling::v2::{
            CrossVersionObjectReference, ExternalMetricSource, HPAScalingPolicy, HPAScalingRules,
            HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec,
            MetricIdentifier, MetricSpec, MetricTarget, PodsMetricSource, ResourceMetricSource,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector},
};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use serde::Serialize;

use super::deployment;
use crate::{
    AutoscalerOptions, KubernetesProvider, ScalingMetric, ScalingPace, names, provider::Shared,
    secret::owner, status::timestamp,
};

/// The API group.
pub(crate) const GROUP: &str = "autoscaling";
/// Its resource.
pub(crate) const AUTOSCALERS: &str = "horizontalpodautoscalers";

/// How a group is sized by the cluster, as the cluster tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AutoscalerStatus {
    /// At least that many members.
    pub min: u32,
    /// At most that many.
    pub max: u32,
    /// So many there are.
    pub current: u32,
    /// So many there should be.
    pub desired: u32,
    /// When the size was last changed.
    pub last_scaled: Option<Timestamp>,
    /// Why it does not size the group, in the cluster's words: a metric that is missing, or no CPU request.
    pub problem: Option<String>,
    /// Why it would go beyond its limits, in the cluster's words.
    pub limited: Option<String>,
}

impl KubernetesProvider {
    /// Has the cluster size a group by itself, by these metrics beside the share of CPU that the configuration aims at;
    /// without any of both, by 80 % of the CPU request. It takes the place of what has done so before. Needs
    /// [`AutoScaling`](hodei_worker_core::Capability::AutoScaling).
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) with the field at fault, a `min` of 0 among them;
    /// [`NotFound`](ErrorKind::NotFound) when there is no such group;
    /// [`Unsupported`](ErrorKind::Unsupported) without the capability.
    ///
    /// # Cancel safety
    /// When dropped, it may be done or not.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(provider: hodei_worker_k8s::KubernetesProvider) -> Result<(), Box<dyn std::error::Error>> {
    /// use hodei_worker_core::model::ScalingConfiguration;
    /// use hodei_worker_k8s::{AutoscalerOptions, ScalingMetric};
    /// let by = AutoscalerOptions::default().metric(ScalingMetric::external("queue_length", 30));
    /// provider.autoscale_by(&"builders".parse()?, &ScalingConfiguration::between(1, 10), &by).await?;
    /// # Ok(()) }
    /// ```
    pub async fn autoscale_by(
        &self,
        group: &GroupRef,
        scaling: &ScalingConfiguration,
        options: &AutoscalerOptions,
    ) -> Result<()> {
        let shared = self.shared();
        let done = Box::pin(shared.hand_over(group, scaling, options)).await;
        done.map_err(|error| shared.about(Operation::Autoscale, None, error).with_context("group", group))
    }

    /// How the cluster sizes a group; `None` where it does not.
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
    /// if let Some(autoscaler) = provider.autoscaler(&"builders".parse()?).await? {
    ///     println!("{} of {} members", autoscaler.current, autoscaler.desired);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn autoscaler(&self, group: &GroupRef) -> Result<Option<AutoscalerStatus>> {
        let shared = self.shared();
        let found = Box::pin(shared.find_autoscaler(group)).await;
        let found = found
            .map_err(|error| shared.about(Operation::Autoscale, None, error).with_context("group", group))?;
        Ok(found.as_ref().map(status))
    }
}

impl Shared {
    pub(crate) async fn hand_over(
        &self,
        group: &GroupRef,
        scaling: &ScalingConfiguration,
        options: &AutoscalerOptions,
    ) -> Result<()> {
        self.capabilities.require([hodei_worker_core::Capability::AutoScaling])?;
        if scaling.min == 0 {
            let message = "an autoscaler of the cluster's never takes the last member away: it is at least 1";
            return Err(Error::config("scaling.min", message));
        }
        if i32::try_from(scaling.max).is_err() {
            return Err(Error::config("scaling.max", "is more than a cluster can count"));
        }
        if scaling.max < scaling.min {
            return Err(Error::config("scaling.max", "is less than `min`"));
        }
        options.validate()?;
        let Some(found) = self.find_group(group).await? else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no group `{group}`"))
                .with_help("give it a size first, by a template of its members"));
        };
        // What somebody else has made is left alone.
        self.find_autoscaler(group).await?;
        if deployment::is_pending(&found) {
            let message = "the group's making was cut off before all was there that stands around it";
            return Err(Error::new(ErrorKind::Conflict, message)
                .with_help("give it its size and its template once more"));
        }
        let object = self.object(&found, scaling, options);
        let parameters = PatchParams::apply(names::MANAGER).force();
        let all = self.cluster.api::<HorizontalPodAutoscaler>();
        let name = names::group(&self.view.installation, group);
        match self.cluster.call(all.patch(&name, &parameters, &Patch::Apply(&object))).await {
            Ok(_) => Ok(()),
            // A server-side apply of what is not there yet needs both.
            Err(failed) => match self.may(GROUP, AUTOSCALERS, "patch").await {
                Ok(false) => Err(self.cluster.error(failed)),
                _ => Err(self.not_created(failed, GROUP, AUTOSCALERS).await),
            },
        }
    }

    /// It is sized by hand from now on, and stays as large as it is.
    pub(crate) async fn take_back(&self, group: &GroupRef) -> Result<()> {
        self.capabilities.require([hodei_worker_core::Capability::AutoScaling])?;
        let Some(found) = self.find_autoscaler(group).await? else { return Ok(()) };
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: found.metadata.uid, resource_version: None }),
            ..DeleteParams::default()
        };
        let name = names::group(&self.view.installation, group);
        let all = self.cluster.api::<HorizontalPodAutoscaler>();
        match self.cluster.call(all.delete(&name, &parameters)).await {
            Ok(_) => Ok(()),
            // Gone, or another by now.
            Err(failed) if failed.status().is_some_and(|status| matches!(status.code, 404 | 409)) => Ok(()),
            Err(failed) => Err(self.cluster.error(failed).with_context("horizontalpodautoscaler", name)),
        }
    }

    /// Two that size a group work against each other.
    pub(super) async fn is_scaled_by_hand(&self, group: &GroupRef) -> Result<()> {
        match self.find_autoscaler(group).await {
            Ok(None) => Ok(()),
            // Whoever may not see what scales has made nothing that does.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            Ok(Some(_)) => Err(Error::new(ErrorKind::Conflict, "an autoscaler sets the size of this group")
                .with_help("take the scaling back first: `autoscale` with no scaling")),
            Err(error) => Err(error),
        }
    }

    async fn find_autoscaler(&self, group: &GroupRef) -> Result<Option<HorizontalPodAutoscaler>> {
        let name = names::group(&self.view.installation, group);
        let found = self.cluster.call(self.cluster.api::<HorizontalPodAutoscaler>().get(&name)).await;
        match found {
            Ok(found) => {
                let theirs = found.metadata.labels.as_ref().and_then(|all| all.get(labels::INSTALLATION));
                if theirs.is_some_and(|theirs| theirs == self.view.installation.as_str()) {
                    return Ok(Some(found));
                }
                let message =
                    "an autoscaler of that name exists that is not this installation's; it is left alone";
                Err(Error::new(ErrorKind::Conflict, message).with_context("horizontalpodautoscaler", name))
            }
            Err(failed) if failed.is_not_found() => Ok(None),
            Err(failed) => Err(self.cluster.error(failed)),
        }
    }

    fn object(
        &self,
        group: &Deployment,
        scaling: &ScalingConfiguration,
        options: &AutoscalerOptions,
    ) -> HorizontalPodAutoscaler {
        let name = group.metadata.name.clone().unwrap_or_default();
        let by_cpu = scaling.target_cpu_percent.map(|target| ScalingMetric::CpuPercent { target });
        let metrics: Vec<_> = by_cpu.iter().chain(&options.metrics).map(metric).collect();
        let paces = (options.scale_up.as_ref(), options.scale_down.as_ref());
        let behavior = (paces != (None, None)).then(|| HorizontalPodAutoscalerBehavior {
            scale_up: paces.0.map(rules),
            scale_down: paces.1.map(rules),
        });
        HorizontalPodAutoscaler {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(BTreeMap::from([(
                    labels::INSTALLATION.to_owned(),
                    self.view.installation.to_string(),
                )])),
                owner_references: Some(vec![owner(group)]),
                ..ObjectMeta::default()
            },
            spec: Some(HorizontalPodAutoscalerSpec {
                scale_target_ref: CrossVersionObjectReference {
                    api_version: Some("apps/v1".to_owned()),
                    kind: "Deployment".to_owned(),
                    name,
                },
                min_replicas: i32::try_from(scaling.min).ok(),
                max_replicas: i32::try_from(scaling.max).unwrap_or(i32::MAX),
                metrics: (!metrics.is_empty()).then_some(metrics),
                behavior,
            }),
            status: None,
        }
    }
}

fn average(value: String) -> MetricTarget {
    MetricTarget {
        type_: "AverageValue".to_owned(),
        average_value: Some(Quantity(value)),
        ..MetricTarget::default()
    }
}

fn percent(target: u32) -> MetricTarget {
    let target = i32::try_from(target).unwrap_or(i32::MAX);
    MetricTarget {
        type_: "Utilization".to_owned(),
        average_utilization: Some(target),
        ..MetricTarget::default()
    }
}

fn identifier(name: &str, labels: &BTreeMap<String, String>) -> MetricIdentifier {
    let selector = (!labels.is_empty())
        .then(|| LabelSelector { match_labels: Some(labels.clone()), ..LabelSelector::default() });
    MetricIdentifier { name: name.to_owned(), selector }
}

fn metric(wanted: &ScalingMetric) -> MetricSpec {
    let resource = |name: &str, target: MetricTarget| MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource { name: name.to_owned(), target }),
        ..MetricSpec::default()
    };
    match wanted {
        ScalingMetric::CpuPercent { target } => resource("cpu", percent(*target)),
        ScalingMetric::Cpu { target } => resource("cpu", average(format!("{}m", target.millis()))),
        ScalingMetric::MemoryPercent { target } => resource("memory", percent(*target)),
        ScalingMetric::Memory { target } => resource("memory", average(target.bytes().to_string())),
        ScalingMetric::Pods { name, labels, target } => MetricSpec {
            type_: "Pods".to_owned(),
            pods: Some(PodsMetricSource {
                metric: identifier(name, labels),
                target: average(target.to_string()),
            }),
            ..MetricSpec::default()
        },
        ScalingMetric::External { name, labels, target } => MetricSpec {
            type_: "External".to_owned(),
            external: Some(ExternalMetricSource {
                metric: identifier(name, labels),
                target: average(target.to_string()),
            }),
            ..MetricSpec::default()
        },
    }
}

fn seconds(duration: HumanDuration) -> i32 {
    i32::try_from(duration.get().as_secs()).unwrap_or(i32::MAX)
}

fn rules(pace: &ScalingPace) -> HPAScalingRules {
    let steps: Vec<_> = pace
        .steps
        .iter()
        .map(|step| HPAScalingPolicy {
            type_: if step.percent { "Percent" } else { "Pods" }.to_owned(),
            value: i32::try_from(step.amount).unwrap_or(i32::MAX),
            period_seconds: seconds(step.period),
        })
        .collect();
    HPAScalingRules {
        policies: (!steps.is_empty()).then_some(steps),
        select_policy: Some(if pace.disabled { "Disabled" } else { "Max" }.to_owned()),
        stabilization_window_seconds: pace.stabilization.map(seconds),
        ..HPAScalingRules::default()
    }
}

fn status(found: &HorizontalPodAutoscaler) -> AutoscalerStatus {
    let count =
        |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default();
    let spec = found.spec.as_ref();
    let told = found.status.clone().unwrap_or_default();
    let is = |kind: &str, status: &str| {
        let mut all = told.conditions.iter().flatten();
        let found = all.find(|condition| condition.type_ == kind && condition.status == status)?;
        let reason = found.reason.as_deref().unwrap_or(kind);
        Some(match found.message.as_deref().map(str::trim).filter(|message| !message.is_empty()) {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        })
    };
    AutoscalerStatus {
        min: count(spec.and_then(|spec| spec.min_replicas)).max(1),
        max: count(spec.map(|spec| spec.max_replicas)),
        current: count(told.current_replicas),
        desired: count(Some(told.desired_replicas)),
        last_scaled: told.last_scale_time.as_ref().map(timestamp),
        problem: is("AbleToScale", "False").or_else(|| is("ScalingActive", "False")),
        limited: is("ScalingLimited", "True"),
    }
}
