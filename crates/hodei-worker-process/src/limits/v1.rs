//! The older hierarchies, one per controller. A run gets a group only where it has a limit.

use std::path::PathBuf;

use hodei_worker_core::model::{InstallationId, ResourceRequirements};

use super::{Limit, Mounts};
use crate::{layout::RunKey, wire::Group};

/// One hierarchy in which groups can be made.
#[derive(Debug, Clone)]
pub(super) struct Hierarchy {
    pub(super) limit: Limit,
    pub(super) base: PathBuf,
    pub(super) home: PathBuf,
    /// Swap is accounted for.
    swap: bool,
}

impl Hierarchy {
    pub(super) fn detect(
        mounts: &Mounts,
        limit: Limit,
        installation: &InstallationId,
    ) -> Result<Self, String> {
        let name = limit.controller();
        let candidates =
            mounts.candidates(Some(name)).ok_or_else(|| format!("cgroup v1 `{name}` is not mounted"))?;
        let home = candidates[1].clone();
        let mut why = String::new();
        for parent in candidates {
            match super::base(&parent, installation) {
                Ok(base) => {
                    let swap = base.join("memory.memsw.limit_in_bytes").exists();
                    return Ok(Self { limit, base, home, swap });
                }
                Err(error) => why = format!("cgroup v1 `{}` is not ours: {error}", parent.display()),
            }
        }
        Err(why)
    }

    pub(super) fn group(&self, key: &RunKey, limits: &ResourceRequirements) -> Option<Group> {
        let line = |name: &str, value: String| (name.to_owned(), value);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        match self.limit {
            Limit::Cpu => {
                let quota = limits.cpu_limit?.millis() * 100;
                before.push(line("cpu.cfs_period_us", "100000".into()));
                before.push(line("cpu.cfs_quota_us", quota.max(1000).to_string()));
            }
            Limit::Memory => {
                let bytes = limits.memory_limit?.bytes().to_string();
                before.push(line("memory.limit_in_bytes", bytes.clone()));
                if self.swap {
                    before.push(line("memory.memsw.limit_in_bytes", bytes));
                }
            }
            Limit::Pids => {
                let pids = limits.pids_limit?;
                // The supervisor counts too, until it has stepped out.
                before.push(line("pids.max", pids.saturating_add(1).to_string()));
                after.push(line("pids.max", pids.to_string()));
            }
        }
        Some(Group {
            path: self.base.join(key.to_string()),
            home: self.home.clone(),
            above: Vec::new(),
            before,
            after,
        })
    }
}
