//! Where a pod may run, and how long it stays on a node that is lost.

use std::collections::BTreeMap;

use hodei_worker_core::{
    model::{InstallationId, labels},
    quantity::HumanDuration,
};
use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::LabelSelector};

use super::spec::{grace_seconds, some};
use crate::{NeighbourRule, Neighbours, NodeCondition, NodeRule, PlacementOptions, SpreadRule, Toleration};

/// The taints that a cluster gives to a node which it has lost.
const LOST: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const NO_EXECUTE: &str = "NoExecute";

pub(super) fn affinity(
    placement: &PlacementOptions,
    installation: &InstallationId,
) -> Option<core::Affinity> {
    let affinity = core::Affinity {
        node_affinity: nodes(&placement.nodes),
        pod_affinity: neighbours(&placement.together, installation).map(|(required, preferred)| {
            core::PodAffinity {
                required_during_scheduling_ignored_during_execution: required,
                preferred_during_scheduling_ignored_during_execution: preferred,
            }
        }),
        pod_anti_affinity: neighbours(&placement.apart, installation).map(|(required, preferred)| {
            core::PodAntiAffinity {
                required_during_scheduling_ignored_during_execution: required,
                preferred_during_scheduling_ignored_during_execution: preferred,
            }
        }),
    };
    (affinity != core::Affinity::default()).then_some(affinity)
}

fn nodes(rules: &[NodeRule]) -> Option<core::NodeAffinity> {
    if rules.is_empty() {
        return None;
    }
    let term =
        |conditions| core::NodeSelectorTerm { match_expressions: Some(conditions), match_fields: None };
    let required: Vec<_> = rules.iter().filter(|rule| rule.preference.is_none()).map(requirement).collect();
    let preferred = rules.iter().filter_map(|rule| {
        Some(core::PreferredSchedulingTerm {
            weight: rule.preference?.into(),
            preference: term(vec![requirement(rule)]),
        })
    });
    Some(core::NodeAffinity {
        required_during_scheduling_ignored_during_execution: (!required.is_empty())
            .then(|| core::NodeSelector { node_selector_terms: vec![term(required)] }),
        preferred_during_scheduling_ignored_during_execution: some(preferred.collect()),
    })
}

fn requirement(rule: &NodeRule) -> core::NodeSelectorRequirement {
    let (operator, values) = match &rule.is {
        NodeCondition::In(values) => ("In", values.clone()),
        NodeCondition::NotIn(values) => ("NotIn", values.clone()),
        NodeCondition::Exists => ("Exists", Vec::new()),
        NodeCondition::Absent => ("DoesNotExist", Vec::new()),
        NodeCondition::Above(number) => ("Gt", vec![number.to_string()]),
        NodeCondition::Below(number) => ("Lt", vec![number.to_string()]),
    };
    core::NodeSelectorRequirement {
        key: rule.label.clone(),
        operator: operator.to_owned(),
        values: some(values),
    }
}

type Terms = (Option<Vec<core::PodAffinityTerm>>, Option<Vec<core::WeightedPodAffinityTerm>>);

fn neighbours(rules: &[NeighbourRule], installation: &InstallationId) -> Option<Terms> {
    if rules.is_empty() {
        return None;
    }
    let term = |rule: &NeighbourRule| core::PodAffinityTerm {
        label_selector: Some(selector(&rule.of, installation)),
        topology_key: rule.topology.clone(),
        ..core::PodAffinityTerm::default()
    };
    let required = rules.iter().filter(|rule| rule.preference.is_none()).map(term).collect();
    let preferred = rules.iter().filter_map(|rule| {
        Some(core::WeightedPodAffinityTerm { weight: rule.preference?.into(), pod_affinity_term: term(rule) })
    });
    Some((some(required), some(preferred.collect())))
}

pub(super) fn spread(
    rules: &[SpreadRule],
    installation: &InstallationId,
) -> Option<Vec<core::TopologySpreadConstraint>> {
    let constraint = |rule: &SpreadRule| core::TopologySpreadConstraint {
        label_selector: Some(selector(&rule.of, installation)),
        topology_key: rule.topology.clone(),
        max_skew: i32::try_from(rule.max_skew).unwrap_or(i32::MAX),
        when_unsatisfiable: if rule.best_effort { "ScheduleAnyway" } else { "DoNotSchedule" }.to_owned(),
        ..core::TopologySpreadConstraint::default()
    };
    some(rules.iter().map(constraint).collect())
}

fn selector(of: &Neighbours, installation: &InstallationId) -> LabelSelector {
    let ours = (labels::INSTALLATION.to_owned(), installation.to_string());
    let labels = match of {
        Neighbours::Group(group) => BTreeMap::from([ours, (labels::WORKER_TYPE.to_owned(), group.clone())]),
        Neighbours::Installation => BTreeMap::from([ours]),
        Neighbours::Labels(labels) => labels.clone(),
    };
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// The taints that it bears; those of a lost node for as long as its recovery waits (`None`: for ever), unless the user says
/// otherwise. The cluster's own default is five minutes.
pub(crate) fn tolerations(asked: &[Toleration], node_loss: Option<HumanDuration>) -> Vec<core::Toleration> {
    let bears = |taint: &str| {
        let is_it = |one: &Toleration| {
            one.key.as_deref().is_none_or(|key| key == taint)
                && one.effect.as_deref().is_none_or(|effect| effect == NO_EXECUTE)
        };
        asked.iter().any(is_it)
    };
    let lost = LOST.into_iter().filter(|taint| !bears(taint)).map(|taint| core::Toleration {
        key: Some(taint.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some(NO_EXECUTE.to_owned()),
        toleration_seconds: node_loss.map(|time| grace_seconds(time.get())),
        value: None,
    });
    asked.iter().map(toleration).chain(lost).collect()
}

fn toleration(toleration: &Toleration) -> core::Toleration {
    let Toleration { key, value, effect, stays } = toleration;
    core::Toleration {
        key: key.clone(),
        operator: Some(if value.is_some() { "Equal" } else { "Exists" }.to_owned()),
        value: value.clone(),
        effect: effect.clone(),
        toleration_seconds: stays.map(|stays| i64::try_from(stays.as_secs()).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(asked: &[Toleration], taint: &str) -> Vec<Option<i64>> {
        let all = tolerations(asked, Some(HumanDuration::secs(30)));
        let of = all.iter().filter(|one| one.key.as_deref().is_none_or(|key| key == taint));
        of.map(|one| one.toleration_seconds).collect()
    }

    #[test]
    fn k10_a_lost_node_is_borne_for_as_long_as_recovery_waits_unless_the_user_says_otherwise() {
        for taint in LOST {
            assert_eq!(seconds(&[], taint), [Some(30)]);
            assert_eq!(seconds(&[Toleration::of("dedicated")], taint), [Some(30)]);
            let longer = Toleration { stays: Some(HumanDuration::secs(600)), ..Toleration::of(taint) };
            let longer = Toleration { effect: Some(NO_EXECUTE.to_owned()), ..longer };
            assert_eq!(seconds(&[longer], taint), [Some(600)]);
            let other = Toleration { effect: Some("NoSchedule".to_owned()), ..Toleration::of(taint) };
            assert_eq!(seconds(&[other], taint), [None, Some(30)]);
            assert_eq!(seconds(&[Toleration::default()], taint), [None], "all taints");
            let for_ever = tolerations(&[], None);
            assert!(for_ever.iter().all(|one| one.toleration_seconds.is_none()) && for_ever.len() == 2);
        }
    }

    #[test]
    fn k2_rules_of_placement_are_conditions_or_preferences() {
        let me: InstallationId = "me".parse().unwrap();
        assert_eq!(affinity(&PlacementOptions::default(), &me), None);
        let near = NeighbourRule::of(Neighbours::Installation).preferred(7);
        let placement = PlacementOptions::default()
            .node(NodeRule::has("disk", ["ssd"]))
            .node(NodeRule::of("cores", NodeCondition::Above(8)).preferred(50))
            .apart(Neighbours::Group("db".into()))
            .together(near);
        let made = affinity(&placement, &me).unwrap();
        let nodes = made.node_affinity.unwrap();
        let required = nodes.required_during_scheduling_ignored_during_execution.unwrap();
        assert_eq!(required.node_selector_terms.len(), 1, "all of it, on one node");
        let preferred = nodes.preferred_during_scheduling_ignored_during_execution.unwrap();
        assert_eq!((preferred.len(), preferred[0].weight), (1, 50));
        let apart = made.pod_anti_affinity.unwrap();
        assert!(apart.preferred_during_scheduling_ignored_during_execution.is_none());
        let apart = apart.required_during_scheduling_ignored_during_execution.unwrap();
        let labels = apart[0].label_selector.as_ref().unwrap().match_labels.as_ref().unwrap();
        assert_eq!(labels[labels::WORKER_TYPE], "db");
        assert_eq!(labels[labels::INSTALLATION], "me");
        let near = made.pod_affinity.unwrap();
        assert!(near.required_during_scheduling_ignored_during_execution.is_none());
        assert_eq!(near.preferred_during_scheduling_ignored_during_execution.unwrap()[0].weight, 7);
    }
}
