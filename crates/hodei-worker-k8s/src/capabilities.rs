//! What a cluster can do, as it was found.

use hodei_worker_core::{Capability, ProviderCapabilities, capability::NativeChecks, model::ProbeKind};
use k8s_openapi::apimachinery::pkg::version::Info;

use crate::{group, usage};

pub(crate) fn detect(version: &Info, groups: &[String], reaches_pods: bool) -> ProviderCapabilities {
    let found = |is_there: bool, why: &str| if is_there { Ok(()) } else { Err(why.to_owned()) };
    let not_reached = "this host does not reach pods at their own addresses: see the setting `reaches_pods`";
    let has = |group: &str, version: &str| groups.iter().any(|one| *one == format!("{group}/{version}"));
    let no_metrics = "the cluster has no metrics API (`metrics.k8s.io`): metrics-server gives it one";
    let no_autoscaling = "the cluster has no autoscalers (`autoscaling/v2`)";
    ProviderCapabilities::new(format!("Kubernetes {}", version.git_version))
        .with_detected(Capability::AutoScaling, found(has(group::AUTOSCALING, "v2"), no_autoscaling))
        .with(Capability::HealthChecks)
        .with_native_checks(NativeChecks::of([ProbeKind::Command, ProbeKind::Http, ProbeKind::Tcp], Some(1)))
        .with(Capability::Volumes)
        .without(
            Capability::HostPaths,
            "a pod runs on a node that the cluster chooses, and `restricted` forbids it",
        )
        .with(Capability::Tmpfs)
        .with_detected(Capability::Networking, found(reaches_pods, not_reached))
        .with(Capability::Security)
        .with_detected(Capability::Monitoring, found(has(usage::GROUP, "v1beta1"), no_metrics))
        .without(Capability::MultiCluster, "one provider is one cluster; use one for each")
        .with(Capability::Watch)
        .with(Capability::Logs)
        .without(Capability::RawBytes, "a node keeps lines, and ends the last one")
        .without(Capability::SplitStreams, "the API mixes both outputs")
        .with(Capability::LogPositions)
        .with_detected(Capability::OwnAddresses, found(reaches_pods, not_reached))
        .with(Capability::PortForward)
        .with(Capability::Exec)
        .without(Capability::Pause, "a cluster does not freeze pods")
        .with(Capability::Images)
        .without(Capability::ImageIds, "only the node that runs it knows which image a name means")
        .with(Capability::DeferredStart)
        .with(Capability::KeepsEnded)
        .without(Capability::KeepsStopped, "a pod that is asked to end is deleted, and its end with it")
        .without(Capability::RestartInPlace, "a pod runs once")
        .with(Capability::SurvivesHost)
        .without(Capability::ExactExit, "a kubelet reports an exit with 137 and a death by SIGKILL alike")
        .with(Capability::CpuLimit)
        .with(Capability::MemoryLimit)
        .without(Capability::PidsLimit, "a kubelet has one for all its pods, none for each")
        .with(Capability::SecretFiles)
        .with(Capability::NativeGroups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_what_is_missing_says_why() {
        let version = Info { git_version: "v1.34.4".to_owned(), ..Info::default() };
        let all = detect(&version, &[], false);
        assert_eq!(all.version, "Kubernetes v1.34.4");
        assert!(all.reason(Capability::OwnAddresses).unwrap().contains("reaches_pods"));
        for (capability, support) in all.iter() {
            assert_ne!(all.reason(capability), Some("not declared by this provider"), "{support:?}");
        }
        assert!(all.reason(Capability::Monitoring).unwrap().contains("metrics-server"));
        assert!(
            detect(&version, &["metrics.k8s.io/v1beta1".to_owned()], true).supports(Capability::Monitoring)
        );
        assert!(detect(&version, &[], true).supports(Capability::OwnAddresses));
    }
}
