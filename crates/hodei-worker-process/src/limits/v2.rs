//! The unified hierarchy. Every run gets a group there, since it contains what escapes even without any controller.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hodei_worker_core::model::{InstallationId, ResourceRequirements};

use super::{Limit, Mounts};
use crate::{layout::RunKey, wire::Group};

/// Where groups of the unified hierarchy can be made.
#[derive(Debug, Clone)]
pub(super) struct Unified {
    pub(super) base: PathBuf,
    /// Where supervisors live: not in the host's group, with which a service manager would kill them.
    pub(super) home: PathBuf,
    pub(super) controllers: Vec<Limit>,
    /// Swap is accounted for.
    swap: bool,
}

impl Unified {
    pub(super) fn detect(mounts: &Mounts, installation: &InstallationId) -> Result<Self, String> {
        let candidates = mounts.candidates(None).ok_or("cgroup v2 is not mounted")?;
        let mut why = String::new();
        for parent in candidates {
            match super::base(&parent, installation) {
                Ok(base) => {
                    let home = base.join("supervisors");
                    match fs::create_dir_all(&home) {
                        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                            why = format!("cgroup v2 `{}` is not ours: {error}", home.display());
                            continue;
                        }
                        _ => {}
                    }
                    let controllers = enable(&parent, &base);
                    let swap = home.join("memory.swap.max").exists();
                    return Ok(Self { base, home, controllers, swap });
                }
                Err(error) => why = format!("cgroup v2 `{}` is not ours: {error}", parent.display()),
            }
        }
        Err(why)
    }

    pub(super) fn group(&self, key: &RunKey, limits: &ResourceRequirements) -> Group {
        let line = |name: &str, value: String| (name.to_owned(), value);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let names: Vec<_> = self.controllers.iter().map(|limit| format!("+{}", limit.controller())).collect();
        let folders = [self.base.parent(), Some(self.base.as_path())].into_iter().flatten();
        let above = folders.map(|folder| (folder.join("cgroup.subtree_control"), names.join(" "))).collect();
        for limit in &self.controllers {
            match limit {
                Limit::Cpu => before.extend(
                    limits.cpu_limit.map(|cpu| line("cpu.max", format!("{} 100000", cpu.millis() * 100))),
                ),
                Limit::Memory => {
                    let Some(size) = limits.memory_limit else { continue };
                    before.push(line("memory.max", size.bytes().to_string()));
                    if self.swap {
                        before.push(line("memory.swap.max", "0".into()));
                    }
                }
                Limit::Pids => {
                    let Some(pids) = limits.pids_limit else { continue };
                    // The supervisor counts too, until it has stepped out.
                    before.push(line("pids.max", pids.saturating_add(1).to_string()));
                    after.push(line("pids.max", pids.to_string()));
                }
            }
        }
        Group { path: self.base.join(key.to_string()), home: self.home.clone(), above, before, after }
    }
}

/// Hands the controllers down from `parent` to the groups in `base`, as far as that is allowed.
fn enable(parent: &Path, base: &Path) -> Vec<Limit> {
    let between = base.strip_prefix(parent).map(Path::components);
    let mut folder = parent.to_owned();
    let mut folders = vec![folder.clone()];
    for part in between.into_iter().flatten() {
        folder.push(part);
        folders.push(folder.clone());
    }
    let given = |limit: &Limit| {
        folders.iter().all(|folder| {
            let control = folder.join("cgroup.subtree_control");
            let name = limit.controller();
            let is_on =
                || fs::read_to_string(&control).is_ok_and(|on| on.split_whitespace().any(|one| one == name));
            is_on() || (fs::write(&control, format!("+{name}")).is_ok() && is_on())
        })
    };
    Limit::ALL.into_iter().filter(given).collect()
}
