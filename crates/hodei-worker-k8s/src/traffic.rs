//! With whom a worker may speak: a NetworkPolicy that goes with its pod.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Result, WorkerRef,
    model::{Ownership, labels},
};
use k8s_openapi::{
    api::{
        core::v1::Pod,
        networking::v1::{
            IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
            NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::api::ObjectMeta;

use crate::{KubernetesOptions, TrafficOptions, TrafficPeer, TrafficRule, provider::Shared, secret::owner};

const DNS: u16 = 53;

impl Shared {
    /// Its rules, before it is started.
    pub(crate) async fn give_traffic_rules(
        &self,
        worker: &WorkerRef,
        pod: &Pod,
        options: &KubernetesOptions,
        ownership: &Ownership,
    ) -> Result<()> {
        let Some(traffic) = &options.traffic else { return Ok(()) };
        // A policy of no direction is one of ingress, which lets nobody in.
        if traffic.ingress.is_none() && traffic.egress.is_none() {
            return Ok(());
        }
        let name = self.pod_name(worker);
        let labels: BTreeMap<_, _> = ownership.to_labels().into_iter().collect();
        let policy = NetworkPolicy {
            metadata: ObjectMeta {
                name: Some(name),
                labels: Some(labels.clone()),
                owner_references: Some(vec![owner(pod)]),
                ..ObjectMeta::default()
            },
            spec: Some(spec(traffic, labels, ownership)),
        };
        let changes = serde_json::json!({"spec": policy.spec});
        self.share(&policy, changes, |_| Ok(())).await.map(drop)
    }
}

fn spec(
    traffic: &TrafficOptions,
    worker: BTreeMap<String, String>,
    ownership: &Ownership,
) -> NetworkPolicySpec {
    let of_worker = [labels::INSTALLATION, labels::WORKER, labels::GENERATION];
    let selected = worker.into_iter().filter(|(name, _)| of_worker.contains(&name.as_str())).collect();
    let mut types = Vec::new();
    types.extend(traffic.ingress.is_some().then(|| "Ingress".to_owned()));
    types.extend(traffic.egress.is_some().then(|| "Egress".to_owned()));
    let ingress = traffic.ingress.as_ref().map(|rules| {
        let rule = |rule: &TrafficRule| NetworkPolicyIngressRule {
            from: Some(vec![peer(&rule.peer, ownership)]),
            ports: tcp(&rule.ports),
        };
        rules.iter().map(rule).collect()
    });
    let egress = traffic.egress.as_ref().map(|rules| {
        let rule = |rule: &TrafficRule| NetworkPolicyEgressRule {
            to: Some(vec![peer(&rule.peer, ownership)]),
            ports: tcp(&rule.ports),
        };
        let names = NetworkPolicyEgressRule {
            to: None,
            ports: Some(["UDP", "TCP"].map(|protocol| port(protocol, DNS)).to_vec()),
        };
        rules.iter().map(rule).chain(traffic.dns.then_some(names)).collect()
    });
    NetworkPolicySpec {
        pod_selector: Some(LabelSelector { match_labels: Some(selected), ..LabelSelector::default() }),
        policy_types: Some(types),
        ingress,
        egress,
    }
}

fn port(protocol: &str, port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(port))),
        end_port: None,
    }
}

fn tcp(ports: &[u16]) -> Option<Vec<NetworkPolicyPort>> {
    (!ports.is_empty()).then(|| ports.iter().map(|number| port("TCP", *number)).collect())
}

fn peer(peer: &TrafficPeer, ownership: &Ownership) -> NetworkPolicyPeer {
    let of_installation = || (labels::INSTALLATION.to_owned(), ownership.installation.to_string());
    let selector = |labels: BTreeMap<String, String>| LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    };
    let mut made = NetworkPolicyPeer::default();
    match peer {
        TrafficPeer::Group(group) => {
            let of_group = (labels::WORKER_TYPE.to_owned(), group.clone());
            made.pod_selector = Some(selector(BTreeMap::from([of_installation(), of_group])));
        }
        TrafficPeer::Installation => {
            made.pod_selector = Some(selector(BTreeMap::from([of_installation()])));
        }
        TrafficPeer::Namespaces(labels) => made.namespace_selector = Some(selector(labels.clone())),
        TrafficPeer::Addresses(block) => {
            made.ip_block = Some(IPBlock { cidr: block.clone(), except: None });
        }
    }
    made
}
