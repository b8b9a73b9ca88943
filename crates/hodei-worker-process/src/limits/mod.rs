//! Limits and containment by what this machine has: detected by trying, and said in the capabilities.

mod v1;
mod v2;

use std::path::PathBuf;

use hodei_worker_core::{
    Capability, ProviderCapabilities,
    model::{InstallationId, ResourceRequirements},
};

use crate::{
    layout::RunKey,
    settings::LimitMechanism,
    wire::{Group, GroupPlan},
};

/// One kind of limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Cpu,
    Memory,
    Pids,
}

impl Limit {
    const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    const fn controller(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
    const fn capability(self) -> Capability {
        match self {
            Self::Cpu => Capability::CpuLimit,
            Self::Memory => Capability::MemoryLimit,
            Self::Pids => Capability::PidsLimit,
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// Groups of the unified hierarchy, if they can be made.
    unified: Option<v2::Unified>,
    /// Groups of the older hierarchies.
    legacy: Vec<v1::Hierarchy>,
    address_space: bool,
    /// Why there are none of each kind.
    reasons: Vec<String>,
}

impl Limits {
    /// Finds out what works, by making groups and removing them.
    pub(crate) fn detect(mechanism: LimitMechanism, installation: &InstallationId) -> Self {
        let wants = |one| matches!(mechanism, LimitMechanism::Auto) || mechanism == one;
        let mut found = Self::default();
        let mounts = match Mounts::read() {
            Ok(mounts) => mounts,
            Err(error) => {
                found.reasons.push(format!("control groups cannot be looked for: {error}"));
                Mounts::default()
            }
        };
        match v2::Unified::detect(&mounts, installation) {
            Ok(mut unified) => {
                if !wants(LimitMechanism::CgroupV2) {
                    unified.controllers.clear();
                }
                if unified.controllers.is_empty() {
                    found.reasons.push("cgroup v2 has no controllers to give".into());
                }
                found.unified = Some(unified);
            }
            Err(reason) => found.reasons.push(reason),
        }
        let by_unified = |found: &Self, limit: Limit| {
            found.unified.as_ref().is_some_and(|unified| unified.controllers.contains(&limit))
        };
        if wants(LimitMechanism::CgroupV1) {
            for limit in Limit::ALL {
                if by_unified(&found, limit) {
                    continue;
                }
                match v1::Hierarchy::detect(&mounts, limit, installation) {
                    Ok(hierarchy) => found.legacy.push(hierarchy),
                    Err(reason) => found.reasons.push(reason),
                }
            }
        }
        found.address_space = wants(LimitMechanism::Rlimit) && !found.has(Limit::Memory);
        if mechanism != LimitMechanism::Auto {
            found.reasons.push(format!("the setting `limits` allows {mechanism:?} only"));
        }
        found
    }

    /// Whether groups enforce this limit.
    fn has(&self, limit: Limit) -> bool {
        self.unified.as_ref().is_some_and(|unified| unified.controllers.contains(&limit))
            || self.legacy.iter().any(|hierarchy| hierarchy.limit == limit)
    }

    /// Adds what was found.
    pub(crate) fn declare(&self, mut capabilities: ProviderCapabilities) -> ProviderCapabilities {
        for limit in Limit::ALL {
            let capability = limit.capability();
            capabilities = if self.has(limit) {
                capabilities.with(capability)
            } else if limit == Limit::Memory && self.address_space {
                capabilities.with_fallback(
                    capability,
                    "RLIMIT_AS: it bounds the address space of each process, not what they use together",
                )
            } else {
                let reasons = self.reasons.join("; ");
                capabilities.without(capability, format!("no usable control group: {reasons}"))
            };
        }
        capabilities
    }

    /// How limits are enforced, in a few words.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.unified {
            Some(unified) if !unified.controllers.is_empty() => "cgroup v2",
            _ if !self.legacy.is_empty() => "cgroup v1",
            _ if self.address_space => "rlimits",
            _ => "no limits",
        }
    }

    /// The groups of a run with these limits.
    pub(crate) fn plan(&self, key: &RunKey, limits: &ResourceRequirements) -> GroupPlan {
        let legacy = self.legacy.iter().filter_map(|hierarchy| hierarchy.group(key, limits));
        GroupPlan {
            unified: self.unified.as_ref().map(|unified| unified.group(key, limits)),
            legacy: legacy.collect(),
        }
    }

    /// All groups that a run may have, whatever its limits are.
    pub(crate) fn plan_of(&self, key: &RunKey) -> GroupPlan {
        let bare = |path, home| {
            let (above, before, after) = (Vec::new(), Vec::new(), Vec::new());
            Group { path, home, above, before, after }
        };
        GroupPlan {
            unified: self
                .unified
                .as_ref()
                .map(|unified| bare(unified.base.join(key.to_string()), unified.home.clone())),
            legacy: self
                .legacy
                .iter()
                .map(|hierarchy| bare(hierarchy.base.join(key.to_string()), hierarchy.home.clone()))
                .collect(),
        }
    }

    /// Removes the groups above the workers', where they are empty: the kernel refuses to remove any other. Whoever
    /// needs them makes them again.
    pub(crate) fn remove_empty(&self) {
        let unified = self.unified.as_ref().map(|unified| (&unified.base, Some(&unified.home)));
        let legacy = self.legacy.iter().map(|hierarchy| (&hierarchy.base, None));
        for (base, home) in unified.into_iter().chain(legacy) {
            let all = home.into_iter().map(PathBuf::as_path).chain([base.as_path()]).chain(base.parent());
            for folder in all {
                match std::fs::remove_dir(folder) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => break,
                    _ => {}
                }
            }
        }
    }

    /// The address space to grant, where nothing better bounds memory.
    pub(crate) fn address_space(&self, limits: &ResourceRequirements) -> Option<u64> {
        limits.memory_limit.filter(|_| self.address_space).map(|size| size.bytes())
    }
}

/// The hierarchies that are mounted, and our own groups in them.
#[derive(Debug, Clone, Default)]
struct Mounts {
    /// Mount point, whether it is the unified one, and its options.
    mounted: Vec<(std::path::PathBuf, bool, Vec<String>)>,
    /// Controllers (empty for the unified hierarchy) and path.
    own: Vec<(Vec<String>, String)>,
}

impl Mounts {
    fn read() -> std::io::Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let own = std::fs::read_to_string("/proc/self/cgroup")?;
        Ok(Self::parse(&mounts, &own))
    }

    fn parse(mountinfo: &str, own: &str) -> Self {
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let mounted = mountinfo.lines().filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut right = right.split(' ');
            let unified = match right.next()? {
                "cgroup" => false,
                "cgroup2" => true,
                _ => return None,
            };
            let point = left.split(' ').nth(4)?;
            Some((point.into(), unified, list(right.nth(1).unwrap_or_default())))
        });
        let own = own.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let controllers = list(fields.nth(1)?).into_iter().filter(|name| !name.is_empty());
            Some((controllers.collect(), fields.next()?.to_owned()))
        });
        Self { mounted: mounted.collect(), own: own.collect() }
    }

    /// Where groups may be made in a hierarchy: at its root, and below our own group.
    fn candidates(&self, controller: Option<&str>) -> Option<[std::path::PathBuf; 2]> {
        let is_it = |all: &[String]| match controller {
            Some(name) => all.iter().any(|one| one == name),
            None => true,
        };
        let (point, ..) = self
            .mounted
            .iter()
            .find(|(_, unified, options)| *unified == controller.is_none() && is_it(options))?;
        let own = self.own.iter().find(|(controllers, _)| match controller {
            Some(name) => controllers.iter().any(|one| one == name),
            None => controllers.is_empty(),
        });
        let path = own.map_or("", |(_, path)| path.trim_start_matches('/'));
        Some([point.clone(), point.join(path)])
    }
}

/// What the names of groups begin with that only show whether they can be made.
const PROBE: &str = "probe-";

/// Makes `hodei-worker/<installation>` below a group, if that can be done, and shows that groups can be made in it.
fn base(parent: &std::path::Path, installation: &InstallationId) -> std::io::Result<std::path::PathBuf> {
    let base = parent.join("hodei-worker").join(installation.as_str());
    remove_probes(&base);
    let probe = base.join(format!("{PROBE}{}-{:x}", std::process::id(), fastrand::u32(..)));
    // Somebody who sees them empty may remove the groups above, or takes the probe for one of a host that is gone.
    let mut shown = Ok(());
    for _ in 0..10 {
        shown = std::fs::create_dir_all(&probe).and_then(|()| {
            let writable = rustix::fs::access(probe.join("cgroup.procs"), rustix::fs::Access::WRITE_OK);
            std::fs::remove_dir(&probe)?;
            Ok(writable?)
        });
        if !matches!(&shown, Err(error) if error.kind() == std::io::ErrorKind::NotFound) {
            break;
        }
    }
    shown.map(|()| base)
}

/// Removes the groups by which hosts tried whether groups can be made, and that were killed in the middle of it.
fn remove_probes(base: &std::path::Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let host = name.to_str().and_then(|name| name.strip_prefix(PROBE)?.split('-').next());
        if host.is_some_and(|host| !std::path::Path::new("/proc").join(host).exists()) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l6_what_a_killed_host_tried_out_is_removed() {
        let base = std::env::temp_dir().join(format!("hodei-probes-{:x}", fastrand::u64(..)));
        let own = format!("{PROBE}{}-1", std::process::id());
        // Beyond the largest number of a process.
        for name in [&format!("{PROBE}4194305-1"), &own, "supervisors"] {
            std::fs::create_dir_all(base.join(name)).unwrap();
        }
        remove_probes(&base);
        let left = std::fs::read_dir(&base).unwrap().flatten().map(|entry| entry.file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        std::fs::remove_dir_all(&base).unwrap();
        assert_eq!(left, [own.as_str(), "supervisors"]);
    }

    #[test]
    fn p3_mounted_hierarchies_are_found_by_controller() {
        let mounts = Mounts::parse(
            "31 23 0:27 / /cg/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
             32 23 0:28 / /cg/unified rw - cgroup2 cgroup2 rw\n\
             33 23 0:29 / /run rw - tmpfs tmpfs rw\n",
            "4:cpu,cpuacct:/user.slice\n0::/init\n",
        );
        let pair = |one: &str, other: &str| Some([one.into(), other.into()]);
        assert_eq!(mounts.candidates(Some("cpu")), pair("/cg/cpu,cpuacct", "/cg/cpu,cpuacct/user.slice"));
        assert_eq!(mounts.candidates(None), pair("/cg/unified", "/cg/unified/init"));
        assert_eq!(mounts.candidates(Some("pids")), None);
    }
}
