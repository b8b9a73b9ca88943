//! Taking away what a cluster leaves outside of its folder, by names of ours only. Its namespaces, and with them its mounts
//! and interfaces, are gone with its last process.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::network::{self, Fence, Network};
use super::{CLUSTERS, Kubernetes};
use crate::failure::{Context, Result};
use crate::process::Record;
use crate::site::Site;
use crate::sweep::{self, is_hash};
use crate::{run, stop};

/// The interfaces of a checkout's clusters.
pub(crate) fn links(hash: &str) -> Vec<String> {
    CLUSTERS.iter().map(|part| part.id(hash)).collect()
}

/// Whether an interface is of some checkout's cluster.
pub(crate) fn is_link(name: &str) -> bool {
    CLUSTERS.iter().any(|part| name.strip_prefix(part.start).is_some_and(is_hash))
}

/// Everything of a checkout's clusters that does not lie below its folder.
pub(crate) fn all(state: &Path, hash: &str) {
    for part in CLUSTERS {
        end(state, part, hash);
    }
    remove_fences(|fence| fence.metric == network::metric(hash));
}

/// The routes that no checkout of these is answerable for.
pub(crate) fn unknown(hashes: &[String]) {
    let known: Vec<_> = hashes.iter().map(|hash| network::metric(hash)).collect();
    remove_fences(|fence| !known.contains(&fence.metric));
}

/// One cluster with its folder.
pub(super) fn one(site: &Site, part: &Kubernetes) -> Result<()> {
    let folder = site.state.join(part.name);
    if !folder.exists() {
        return Ok(());
    }
    end(&site.state, part, &site.hash);
    let number = fs::read_to_string(folder.join("network")).unwrap_or_default();
    if let Some(network) = Network::parse(&number) {
        let ours = |fence: &Fence| fence.metric == network::metric(&site.hash) && fence.is_of(network);
        remove_fences(ours);
    }
    for record in Record::all(&site.state) {
        if part.owns(&record.name) {
            record.remove(&site.state);
        }
    }
    fs::remove_dir_all(&folder).context(format_args!("removing {}", folder.display()))
}

/// Ends its processes all at once: a kubelet starts again what is ended before it.
fn end(state: &Path, part: &Kubernetes, hash: &str) {
    let (folder, id) = (state.join(part.name), part.id(hash));
    let group = format!("/{id}");
    let roots = sweep::hierarchies();
    let has_cgroups = || roots.iter().any(|root| root.join(&id).exists());
    if !folder.exists() && !has_cgroups() {
        return;
    }
    let records: Vec<_> = Record::all(state).into_iter().filter(|record| part.owns(&record.name)).collect();
    sweep::kill_where(|process| {
        sweep::in_cgroup(process, &group)
            || sweep::is_part_of(process, &folder)
            || records.iter().any(|record| record.identity == process.identity)
    });
    // The kernel takes its time with both.
    settled(|| {
        sweep::remove_cgroups(&group);
        !has_cgroups()
    });
    settled(|| {
        let there = sweep::links().contains(&id);
        // It may be gone by itself meanwhile, as its other end is.
        if there {
            let _ = run::output(Command::new("ip").args(["link", "delete", &id]));
        }
        !there
    });
}

fn settled(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() && Instant::now() < end {
        stop::settle(Duration::from_millis(20));
    }
}

fn remove_fences(condition: impl Fn(&Fence) -> bool) {
    for fence in Fence::all().iter().filter(|fence| condition(fence)) {
        if let Err(error) = fence.remove() {
            println!("could not remove a route: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NEWEST, SETTLED};
    use super::*;

    #[test]
    fn a_link_is_a_clusters_by_its_whole_name() {
        assert!(links("0a1b2c3d").iter().all(|name| is_link(name)));
        assert!(!is_link("hodei-k0a1b2c3") && !is_link("hodei-t0a1b2c3d") && !is_link("hodei-kube-0"));
    }

    #[test]
    fn a_process_belongs_to_one_cluster_alone() {
        assert!(SETTLED.owns("kubernetes-etcd") && !NEWEST.owns("kubernetes-etcd"));
        assert!(NEWEST.owns("kubernetes-newest-etcd") && !SETTLED.owns("kubernetes-newest-etcd"));
        assert!(SETTLED.owns("kubernetes-host") && !SETTLED.owns("postgres"));
    }
}
