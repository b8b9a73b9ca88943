//! What an installation has left, looked at past the provider.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use bollard::query_parameters::{ListContainersOptionsBuilder, ListVolumesOptionsBuilder};
use hodei_worker::{
    ConnectContext, ProviderSettings as _, docker::DockerSettings, model::labels, process::Survival,
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, api::ListParams};

use crate::{
    Outcome,
    place::{Place, cluster, docker_host},
    processes,
};

/// Everything that is there although the installation has no worker: processes, files, groups, containers, volumes.
///
/// # Errors
/// Where the engine or the cluster cannot be asked.
pub async fn of(place: Place, installation: &str) -> Outcome<Vec<String>> {
    let mut left: Vec<String> =
        processes::marked(installation).into_iter().map(|pid| format!("process {pid}")).collect();
    if place == Place::Docker {
        left.extend(in_the_engine(installation).await?);
    } else if place == Place::Kubernetes {
        left.extend(in_the_cluster(installation).await?);
    } else {
        let settings = processes::settings(Survival::Auto);
        for folder in [settings.state_dir, settings.log_dir].into_iter().flatten() {
            files(&folder.join(installation), &mut left);
        }
        left.extend(groups(installation).into_iter().map(|group| format!("group {}", group.display())));
    }
    Ok(left)
}

/// Removes the groups that stay for an installation as long as it may have workers.
pub fn clear_groups(installation: &str) {
    for folder in group_folders(installation) {
        let _ = std::fs::remove_dir(folder.join("supervisors"));
        let _ = std::fs::remove_dir(folder);
    }
}

/// The files of workers; an installation's own few do not count.
fn files(folder: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, all);
        } else if !path.ends_with("id") && !path.ends_with("state") {
            all.push(format!("file {}", path.display()));
        }
    }
}

/// The control groups of workers.
fn groups(installation: &str) -> Vec<PathBuf> {
    let folders = group_folders(installation).into_iter();
    let entries = folders.flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path()).filter(|path| !path.ends_with("supervisors")).collect()
}

/// The installation's folder in each hierarchy of groups: below its root, or below the group that we are in.
fn group_folders(installation: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own: Vec<_> = own
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .map(|group| group.trim_start_matches('/'))
        .collect();
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<_> = hierarchies
        .chain([root.to_owned()])
        .flat_map(|hierarchy| {
            own.iter().map(|group| hierarchy.join(group)).chain([hierarchy.clone()]).collect::<Vec<_>>()
        })
        .map(|group| group.join("hodei-worker").join(installation))
        .filter(|folder| folder.is_dir())
        .collect();
    folders.sort();
    folders.dedup();
    folders
}

async fn in_the_cluster(installation: &str) -> Outcome<Vec<String>> {
    let context = ConnectContext::new("raw".parse()?, "raw".parse()?);
    let client = cluster()?.connect(context).await?.client();
    let ours = ListParams::default().labels(&format!("{}={installation}", labels::INSTALLATION));
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let named = |kind: &str, name: Option<String>| format!("{kind} {}", name.unwrap_or_default());
    let pods = pods.list_metadata(&ours).await?.items.into_iter().map(|pod| named("pod", pod.metadata.name));
    let secrets: Api<Secret> = Api::namespaced(client, "default");
    let secrets = secrets.list_metadata(&ours).await?.items.into_iter();
    Ok(pods.chain(secrets.map(|secret| named("secret", secret.metadata.name))).collect())
}

async fn in_the_engine(installation: &str) -> Outcome<Vec<String>> {
    let context = ConnectContext::new("raw".parse()?, "raw".parse()?);
    let engine = DockerSettings::at(docker_host()?).connect(context).await?;
    let label = format!("{}={installation}", labels::INSTALLATION);
    let filters = HashMap::from([("label".to_owned(), vec![label])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let containers = engine.client().list_containers(Some(options)).await?;
    let names = containers.into_iter().flat_map(|container| container.names.unwrap_or_default());
    let mut left: Vec<_> = names.map(|name| format!("container {name}")).collect();
    let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
    let volumes = engine.client().list_volumes(Some(options)).await?.volumes.unwrap_or_default();
    left.extend(volumes.into_iter().map(|volume| format!("volume {}", volume.name)));
    for folder in ["/run/hodei-worker", "/dev/shm/hodei-worker"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let secrets = entries.filter(|entry| entry.file_name().to_string_lossy().contains(installation));
        left.extend(secrets.map(|entry| format!("folder {}", entry.path().display())));
    }
    Ok(left)
}
