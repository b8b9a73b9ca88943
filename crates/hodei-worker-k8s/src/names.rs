//! Names, labels and annotations of what is ours in a cluster.

use std::collections::BTreeMap;

use hodei_worker_core::{
    WorkerId, WorkerRef,
    model::{Generation, GroupRef, InstallationId, Labels, Ownership, labels},
    provider::WorkerFilter,
};
use kube::api::ObjectMeta;

/// Who last wrote what we write.
pub(crate) const MANAGER: &str = "hodei-worker";
/// Keeps a pod from being scheduled until its start.
pub(crate) const GATE: &str = "hodei-worker/start";
/// Label of pods that a group made.
pub(crate) const MEMBER: &str = "hodei-worker/member";
/// The one container that is the worker.
pub(crate) const CONTAINER: &str = "worker";
/// Annotation: the names of the user's labels. Others come from admission, and are not the worker's.
pub(crate) const LABELS: &str = "hodei-worker/labels";
/// Annotation: what stands around the worker is not all there yet.
pub(crate) const PENDING: &str = "hodei-worker/pending";
/// Annotation of a ConfigMap: the digest of the files that a worker's configuration gave it last.
pub(crate) const FILES: &str = "hodei-worker/files";
/// Annotation of a group: the fingerprint of the template that it is made of.
pub(crate) const TEMPLATE: &str = "hodei-worker/template";
/// Annotation: the worker's secrets, as references.
pub(crate) const SECRETS: &str = "hodei-worker/secrets";

/// Label of a claim: a worker that has mounted it.
pub(crate) fn user(worker: &WorkerId) -> String {
    format!("used-by.hodei-worker/{worker}")
}

/// The pod's name. Ids hold no dots, so no two workers share it.
pub(crate) fn pod(installation: &InstallationId, worker: &WorkerRef) -> String {
    format!("hodei.{installation}.{}.{}", worker.id, worker.generation)
}

/// The name of a group's Deployment, of what scales it and of its Secret.
pub(crate) fn group(installation: &InstallationId, group: &GroupRef) -> String {
    format!("hodei.{installation}.{group}")
}

/// The name of the pod of a group's member, which the cluster chose after that of its Deployment: the member's id is
/// made of it.
pub(crate) fn member(installation: &InstallationId, id: &WorkerId) -> String {
    format!("hodei.{installation}.{id}")
}

/// Whether a worker can be a group's member by its name: `<group>-<template>-<number>`.
pub(crate) fn can_be_member(worker: &WorkerRef) -> bool {
    let mut parts = worker.id.as_str().rsplitn(3, '-');
    worker.generation == Generation::FIRST
        && parts.next().is_some_and(|last| last.len() == 5)
        && parts.count() == 2
}

/// Whose a pod is, if it is this installation's.
pub(crate) fn ownership(installation: &InstallationId, meta: &ObjectMeta) -> Option<Ownership> {
    let labels = meta.labels.as_ref()?;
    if labels.contains_key(MEMBER) {
        let is_ours = labels.get(labels::INSTALLATION).is_some_and(|theirs| theirs == installation.as_str());
        let id = meta.name.as_deref()?.rsplit('.').next()?.parse().ok()?;
        return is_ours.then(|| Ownership::new(installation.clone(), WorkerRef::first(id)));
    }
    let ownership = Ownership::from_labels(labels)?;
    (ownership.installation == *installation).then_some(ownership)
}

/// The user's labels.
pub(crate) fn user_labels(meta: &ObjectMeta) -> Labels {
    let names = meta.annotations.as_ref().and_then(|all| all.get(LABELS));
    let names: Vec<String> = names.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let all = meta.labels.as_ref();
    names.into_iter().filter_map(|name| Some((name.clone(), all?.get(&name)?.clone()))).collect()
}

/// All labels of a worker's pod: the user's, and ours.
pub(crate) fn all_labels(
    ownership: &Ownership,
    user: &Labels,
    worker_type: Option<&str>,
) -> BTreeMap<String, String> {
    let mut all = user.clone();
    all.extend(ownership.to_labels());
    if let Some(worker_type) = worker_type {
        all.insert(labels::WORKER_TYPE.to_owned(), worker_type.to_owned());
    }
    all
}

/// The cluster's selector of what a filter can mean. The user's labels are compared here: they may hold anything.
pub(crate) fn selector(installation: &InstallationId, filter: &WorkerFilter) -> String {
    let mut selector = format!("{}={installation}", labels::INSTALLATION);
    // Members of groups have no label of their id.
    let id = filter.id.as_ref().filter(|id| !can_be_member(&WorkerRef::first((*id).clone())));
    if let Some(id) = id {
        selector.push_str(&format!(",{}={id}", labels::WORKER));
    }
    if let Some(worker_type) = &filter.worker_type {
        selector.push_str(&format!(",{}={worker_type}", labels::WORKER_TYPE));
    }
    selector
}

/// Why a text cannot be a label's key.
pub(crate) fn key_problem(key: &str) -> Option<&'static str> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if prefix.is_some_and(|prefix| prefix.len() > 253 || !prefix.split('.').all(crate::settings::is_label)) {
        return Some("what stands before the `/` has to be a DNS name");
    }
    (name.is_empty() || !is_value(name)).then_some(
        "1 to 63 letters, digits, `-`, `_` and `.` are allowed, with a letter or digit at both ends, and a DNS name \
         with a `/` before that",
    )
}

/// Whether it can be a label's value.
pub(crate) fn is_value(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric();
    let bytes = text.as_bytes();
    bytes.is_empty()
        || bytes.len() <= 63
            && bytes.first().is_some_and(inner)
            && bytes.last().is_some_and(inner)
            && bytes.iter().all(|byte| inner(byte) || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k2_labels_that_kubernetes_refuses_are_known() {
        for good in ["a", "app.example.com/name", "A_b.c-9", &"x".repeat(63)] {
            assert_eq!(key_problem(good), None, "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "Upper.Case/x", "a/b/c", "/a", "a/", &"x".repeat(64)] {
            assert!(key_problem(bad).is_some(), "{bad}");
        }
        assert!(is_value("") && is_value("a.B_c-9") && !is_value("a/b") && !is_value(&"x".repeat(64)));
    }

    #[test]
    fn k5_a_groups_members_are_known_by_their_labels_and_named_after_their_pods() {
        let installation: InstallationId = "me".parse().unwrap();
        let group = "web".parse().unwrap();
        let meta = |name: &str, installation: &str| ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([
                (labels::INSTALLATION.to_owned(), installation.to_owned()),
                (labels::WORKER_TYPE.to_owned(), "web".to_owned()),
                (MEMBER.to_owned(), String::new()),
            ])),
            ..ObjectMeta::default()
        };
        let name = format!("{}-7d4b9c-x2k4p", super::group(&installation, &group));
        let ownership = super::ownership(&installation, &meta(&name, "me")).unwrap();
        assert_eq!(ownership.worker, WorkerRef::first("web-7d4b9c-x2k4p".parse().unwrap()));
        assert_eq!(member(&installation, &ownership.worker.id), name);
        assert!(can_be_member(&ownership.worker));
        assert_eq!(super::ownership(&installation, &meta(&name, "other")), None);
        for other in ["web", "web-1", "a-web-1"] {
            assert!(!can_be_member(&WorkerRef::first(other.parse().unwrap())), "{other}");
        }
    }

    #[test]
    fn k2_only_the_users_own_labels_are_the_workers() {
        let installation: InstallationId = "me".parse().unwrap();
        let ownership = Ownership::new(installation.clone(), WorkerRef::first("a".parse().unwrap()));
        let user = Labels::from([("team".to_owned(), "blue".to_owned())]);
        let mut labels = all_labels(&ownership, &user, Some("builders"));
        labels.insert("injected".to_owned(), "by-admission".to_owned());
        let meta = ObjectMeta {
            labels: Some(labels),
            annotations: Some([(LABELS.to_owned(), "[\"team\"]".to_owned())].into()),
            ..ObjectMeta::default()
        };
        assert_eq!(user_labels(&meta), user);
        assert_eq!(super::ownership(&installation, &meta), Some(ownership));
        assert_eq!(super::ownership(&"other".parse().unwrap(), &meta), None);
    }
}
