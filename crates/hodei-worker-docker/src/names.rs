//! What is ours: names and labels.

use std::collections::HashMap;

use bollard::models::ContainerInspectResponse;
use hodei_worker_core::{
    WorkerRef,
    model::{InstallationId, Labels, Ownership, labels},
};

/// Label: the references of the worker's secrets, so that a host that did not create it can resolve them at a start.
pub(crate) const SECRETS: &str = "hodei-worker/secrets";
/// Label: the worker's own grace period, exactly; the engine knows whole seconds only.
pub(crate) const STOP_GRACE: &str = "hodei-worker/stop-grace";

/// The container's name. Injective: no part can hold a dot.
pub(crate) fn container(installation: &InstallationId, worker: &WorkerRef) -> String {
    format!("hodei.{installation}.{}.{}", worker.id, worker.generation)
}

/// The mark on an object of this installation; `None` for everything else.
pub(crate) fn ownership(
    installation: &InstallationId,
    all: Option<&HashMap<String, String>>,
) -> Option<Ownership> {
    let all: Labels = all?
        .iter()
        .filter(|(name, _)| name.starts_with(labels::PREFIX))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ownership::from_labels(&all).filter(|ownership| ownership.installation == *installation)
}

/// The labels of an inspected container.
pub(crate) fn labels_of(inspected: &ContainerInspectResponse) -> Option<&HashMap<String, String>> {
    inspected.config.as_ref()?.labels.as_ref()
}

/// The labels that the user gave.
pub(crate) fn user_labels(all: &HashMap<String, String>) -> Labels {
    let theirs = all.iter().filter(|(name, _)| !name.starts_with(labels::PREFIX));
    theirs.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The engine's filter for what is ours, and for these labels beside.
pub(crate) fn label_filter<'a>(
    installation: &InstallationId,
    more: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<String> {
    let mut all = vec![format!("{}={installation}", labels::INSTALLATION)];
    all.extend(more.into_iter().map(|(name, value)| format!("{name}={value}")));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(installation: &str) -> HashMap<String, String> {
        let ownership =
            Ownership::new(installation.parse().unwrap(), WorkerRef::new("a-1".parse().unwrap(), 3));
        let mut all: HashMap<_, _> = ownership.to_labels().into_iter().collect();
        all.insert("team".to_owned(), "x".to_owned());
        all
    }

    #[test]
    fn d2_names_are_injective() {
        let name = |installation: &str, id: &str, generation| {
            container(&installation.parse().unwrap(), &WorkerRef::new(id.parse().unwrap(), generation))
        };
        assert_eq!(name("a-b", "c", 1), "hodei.a-b.c.1");
        assert_ne!(name("a-b", "c", 1), name("a", "b-c", 1));
    }

    #[test]
    fn d2_only_our_own_installation_counts() {
        let (ours, other) = ("ci".parse().unwrap(), "ci-2".parse().unwrap());
        let all = marked("ci");
        assert_eq!(ownership(&ours, Some(&all)).unwrap().worker.to_string(), "a-1#3");
        assert!(ownership(&other, Some(&all)).is_none());
        let mut broken = all.clone();
        broken.insert(labels::GENERATION.to_owned(), "three".to_owned());
        assert!(ownership(&ours, Some(&broken)).is_none());
        assert!(ownership(&ours, None).is_none());
        assert_eq!(user_labels(&all).len(), 1);
    }
}
