//! With whom a worker may speak: a NetworkPolicy that goes with its pod.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Result,
    model::{Ownership, labels},
};
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, OwnerReference},
        util::intstr::IntOrString,
    },
};
use kube::api::ObjectMeta;

use crate::{KubernetesOptions, TrafficOptions, TrafficPeer, TrafficRule, provider::Shared};

const DNS: u16 = 53;

impl Shared {
    /// The rules of the pods that these labels mean, before they are started.
    pub(crate) async fn give_traffic_rules(
        &self,
        name: &str,
        selected: BTreeMap<String, String>,
        owner: &OwnerReference,
        options: &KubernetesOptions,
        ownership: &Ownership,
    ) -> Result<()> {
        let Some(traffic) = &options.traffic else { return Ok(()) };
        // A policy of no direction is one of ingress, which lets nobody in.
        if traffic.ingress.is_none() && traffic.egress.is_none() {
            return Ok(());
        }
        let policy = NetworkPolicy {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(ownership.to_labels().into_iter().collect()),
                owner_references: Some(vec![owner.clone()]),
                ..ObjectMeta::default()
            },
            spec: Some(spec(traffic, selected, ownership)),
        };
        let changes = serde_json::json!({"spec": policy.spec});
        self.share(&policy, changes, |_| Ok(())).await.map(drop)
    }
}

fn spec(
    traffic: &TrafficOptions,
    selected: BTreeMap<String, String>,
    ownership: &Ownership,
) -> NetworkPolicySpec {
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
