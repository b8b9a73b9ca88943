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

/// Label: networks and volumes that exist for others, and are never removed, as a list of their names.
pub(crate) const EXTERNAL: &str = "hodei-worker/external";
/// Label: the networks of a worker that is on several, so that what an engine did not take at once is joined later.
pub(crate) const NETWORKS: &str = "hodei-worker/networks";
/// Label of a container that never runs, by which files get into volumes: the worker that it helps, `id.generation`.
pub(crate) const HELPER: &str = "hodei-worker/helper";
/// Label of a volume, a network or a helper: the attempt that made it, by a number that no other attempt has.
pub(crate) const ATTEMPT: &str = "hodei-worker/attempt";
/// Label of a volume that is made to be given to somebody: to whom, `user:group:mode`.
pub(crate) const OWNER: &str = "hodei-worker/owner";
/// Label of a volume that holds secrets: the worker's alone.
pub(crate) const SECRET_VOLUME: &str = "hodei-worker/secret-volume";
/// Label: which of the labels are the user's, as a list of their names. An engine shows those of the image among them.
pub(crate) const LABELS: &str = "hodei-worker/labels";

/// Those of our labels that a container may have no use for. All are written, empty then, since else the image's are
/// taken for them.
const OPTIONAL: [&str; 10] = [
    labels::WORKER_TYPE,
    labels::LOG,
    labels::POSITION,
    labels::CONFIG,
    SECRETS,
    STOP_GRACE,
    EXTERNAL,
    NETWORKS,
    HELPER,
    ATTEMPT,
];

/// Volumes of such names are ours.
pub(crate) const RESERVED: &str = "hodei.";

/// The container's name. Injective: no part can hold a dot.
pub(crate) fn container(installation: &InstallationId, worker: &WorkerRef) -> String {
    format!("hodei.{installation}.{}.{}", worker.id, worker.generation)
}

/// What the names of the volumes of a worker's secrets begin with.
pub(crate) fn secret_volumes(installation: &InstallationId, worker: &WorkerRef) -> String {
    format!("{}.secrets.", container(installation, worker))
}

/// The value of a helper's label.
pub(crate) fn helped(worker: &WorkerRef) -> String {
    format!("{}.{}", worker.id, worker.generation)
}

/// A helper's labels. Those of its image would else make it a worker: `docker commit` copies a worker's.
pub(crate) fn helper_labels(
    installation: &InstallationId,
    worker: &WorkerRef,
    attempt: &str,
) -> HashMap<String, String> {
    let mut all: HashMap<_, _> = [labels::WORKER, labels::GENERATION, LABELS]
        .into_iter()
        .chain(OPTIONAL)
        .map(|name| (name.to_owned(), String::new()))
        .collect();
    for (name, value) in [
        (labels::INSTALLATION, installation.to_string()),
        (HELPER, helped(worker)),
        (ATTEMPT, attempt.to_owned()),
    ] {
        all.insert(name.to_owned(), value);
    }
    all
}

/// Whether a container is a helper of this installation's: by its label, its name and what it is not. An image may carry
/// the label, and what runs of it is none.
pub(crate) fn is_helper(
    installation: &InstallationId,
    names: &[String],
    all: Option<&HashMap<String, String>>,
) -> bool {
    let begins = format!("/{RESERVED}{installation}.");
    all.and_then(|all| all.get(HELPER)).is_some_and(|helped| !helped.is_empty())
        && names.iter().any(|name| name.starts_with(&begins) && name.contains(".helper."))
        && ownership(installation, all).is_none()
}

/// Adds what is missing to the labels of a container that is to be made, so that the image has no say in them.
pub(crate) fn complete(all: &mut Labels, user: &Labels) {
    for name in OPTIONAL {
        all.entry(name.to_owned()).or_default();
    }
    let names: Vec<&String> = user.keys().collect();
    all.insert(LABELS.to_owned(), serde_json::json!(names).to_string());
}

/// The mark on an object of this installation; `None` for everything else.
pub(crate) fn ownership(
    installation: &InstallationId,
    all: Option<&HashMap<String, String>>,
) -> Option<Ownership> {
    let all: Labels = all?
        .iter()
        .filter(|(name, value)| name.starts_with(labels::PREFIX) && !value.is_empty())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ownership::from_labels(&all).filter(|ownership| ownership.installation == *installation)
}

/// The labels of an inspected container.
pub(crate) fn labels_of(inspected: &ContainerInspectResponse) -> Option<&HashMap<String, String>> {
    inspected.config.as_ref()?.labels.as_ref()
}

/// The labels that the user gave, not those of the image.
pub(crate) fn user_labels(all: &HashMap<String, String>) -> Labels {
    let names = all.get(LABELS).and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
    let names = names.unwrap_or_default();
    let theirs = all.iter().filter(|(name, _)| !name.starts_with(labels::PREFIX) && names.contains(name));
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
        let user = Labels::from([("team".to_owned(), "x".to_owned())]);
        let mut ours = Labels::new();
        complete(&mut ours, &user);
        ours.into_iter().chain(user).for_each(|(name, value)| {
            all.entry(name).or_insert(value);
        });
        all.insert("maintainer".to_owned(), "the image's".to_owned());
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
    fn d7_only_a_helper_is_one() {
        let ours: InstallationId = "ci".parse().unwrap();
        let worker = WorkerRef::new("a-1".parse().unwrap(), 3);
        let helper = helper_labels(&ours, &worker, "0f");
        let is_it =
            |name: &str, all: &HashMap<String, String>| is_helper(&ours, &[name.to_owned()], Some(all));
        assert!(is_it("/hodei.ci.a-1.3.helper.0f", &helper));
        assert!(!is_it("/hodei.ci.a-1.3", &helper));
        assert!(!is_it("/hodei.ci-2.a-1.3.helper.0f", &helper));
        // What runs of an image that carries a helper's labels.
        let mut theirs = marked("ci");
        assert_eq!(theirs.get(HELPER).map(String::as_str), Some(""));
        theirs.insert(HELPER.to_owned(), "a-1.3".to_owned());
        assert!(!is_it("/hodei.ci.a-1.3.helper.0f", &theirs));
        // A helper whose image is a worker's is no worker.
        let mut shown = marked("ci");
        shown.extend(helper);
        assert!(ownership(&ours, Some(&shown)).is_none());
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
