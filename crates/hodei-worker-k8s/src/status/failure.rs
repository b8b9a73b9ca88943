//! Why a pod is not as it should be: from phases, reasons and conditions, each a word of a closed set.

use hodei_worker_core::status::FailureClass;
use k8s_openapi::api::core::v1::{ContainerState, PodStatus};

use super::condition;

/// What a container runtime says of a container whose program was never executed. kubelets pass on these two words.
pub(super) const START_FAILED: [&str; 2] = ["StartError", "ContainerCannotRun"];

/// The class of what is wrong, and the cluster's own words for it.
pub(super) fn why(told: &PodStatus, state: &ContainerState) -> (Option<FailureClass>, Option<String>) {
    let words = |reason: &str, message: Option<&String>| {
        Some(match message.map(|message| message.trim()).filter(|message| !message.is_empty()) {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        })
    };
    if let Some(ended) = &state.terminated {
        let reason = ended.reason.as_deref().unwrap_or_default();
        let class = match reason {
            "OOMKilled" => Some(FailureClass::OutOfMemory),
            reason if START_FAILED.contains(&reason) => Some(FailureClass::CommandNotFound),
            "ContainerStatusUnknown" => Some(FailureClass::Vanished),
            // Of the pod as a whole: below.
            _ => None,
        };
        if class.is_some() {
            return (class, words(reason, ended.message.as_ref()));
        }
    }
    // A disruption is told before the pod ends, and stands beside every reason.
    if let Some(disrupted) =
        condition(told, "DisruptionTarget").filter(|condition| condition.status == "True")
    {
        let reason = disrupted.reason.as_deref().unwrap_or("DisruptionTarget");
        let class =
            if reason == "DeletionByTaintManager" { FailureClass::NodeLost } else { FailureClass::Evicted };
        return (Some(class), words(reason, disrupted.message.as_ref()));
    }
    if let Some(reason) = told.reason.as_deref() {
        let class = match reason {
            "Evicted" | "Preempting" | "Shutdown" | "Terminated" => Some(FailureClass::Evicted),
            "NodeLost" => Some(FailureClass::NodeLost),
            "DeadlineExceeded" => Some(FailureClass::DeadlineExceeded),
            // The kubelet's own admission: the node has changed since the scheduler chose it.
            "NodeAffinity" | "UnexpectedAdmissionError" | "Topology affinity error" => {
                Some(FailureClass::Capacity)
            }
            reason if reason.starts_with("OutOf") => Some(FailureClass::Capacity),
            _ => None,
        };
        if class.is_some() {
            return (class, words(reason, told.message.as_ref()));
        }
    }
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let class = match reason {
            "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "SignatureValidationFailed" => {
                Some(FailureClass::ImagePull)
            }
            "ErrImageNeverPull" => Some(FailureClass::ImageNotFound),
            "InvalidImageName" | "ImageInspectError" => Some(FailureClass::ImageNotFound),
            "CreateContainerConfigError" | "CreateContainerError" => Some(FailureClass::Configuration),
            "RunContainerError" => Some(FailureClass::CommandNotFound),
            _ => None,
        };
        let tells = class.is_some() || waiting.message.is_some();
        return (class, tells.then(|| words(reason, waiting.message.as_ref())).flatten());
    }
    if let Some(scheduled) = condition(told, "PodScheduled").filter(|condition| condition.status == "False") {
        let reason = scheduled.reason.as_deref().unwrap_or_default();
        let class = (reason == "Unschedulable").then_some(FailureClass::Capacity);
        return (class, words(reason, scheduled.message.as_ref()));
    }
    (None, None)
}
