//! Where an installation's folders lie by default.

use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::settings::ProcessSettings;

/// What decides where state lies when no setting names a place.
struct Facts {
    user: u32,
    /// `$XDG_RUNTIME_DIR`.
    runtime: Option<PathBuf>,
    /// Whether the user's processes and runtime folder outlast the last log-out.
    lingers: bool,
    /// `$XDG_STATE_HOME`, or what stands for it.
    state_home: Option<PathBuf>,
    temporary: PathBuf,
    in_memory: fn(&Path) -> bool,
}

impl Facts {
    fn gather() -> Self {
        let user = Uid::effective();
        let name = User::from_uid(user).ok().flatten().map(|user| user.name);
        Self {
            user: user.as_raw(),
            runtime: variable("XDG_RUNTIME_DIR"),
            lingers: name.is_some_and(|name| Path::new("/var/lib/systemd/linger").join(name).exists()),
            state_home: state_home(),
            temporary: std::env::temp_dir(),
            in_memory,
        }
    }

    /// The folder in which all installations keep their state.
    fn state(self) -> PathBuf {
        if self.user == 0 {
            let run = Path::new("/run");
            let shared = Some(Path::new("/dev/shm")).filter(|shared| (self.in_memory)(shared));
            return shared.filter(|_| !(self.in_memory)(run)).unwrap_or(run).join("hodei-worker");
        }
        // The folder that a log-in made goes with the last log-out, the workers may stay: then nobody would find them
        // any more, and the same worker would be started beside itself.
        let stays = |runtime: &PathBuf| self.lingers || !runtime.starts_with("/run/user");
        if let Some(runtime) = self.runtime.filter(stays) {
            return runtime.join("hodei-worker");
        }
        match self.state_home {
            Some(home) => home.join("hodei-worker-state"),
            None => self.temporary.join(format!("hodei-worker-{}", self.user)),
        }
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn state_home() -> Option<PathBuf> {
    variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")))
}

/// The folder in which all installations keep their state.
pub(crate) fn state(settings: &ProcessSettings) -> PathBuf {
    settings.state_dir.clone().unwrap_or_else(|| Facts::gather().state())
}

/// The folder in which all installations keep their logs.
pub(crate) fn logs(settings: &ProcessSettings) -> PathBuf {
    if let Some(path) = &settings.log_dir {
        return path.clone();
    }
    if Uid::effective().is_root() {
        return "/var/lib/hodei-worker".into();
    }
    state_home().map_or_else(|| state(settings).join("logs"), |path| path.join("hodei-worker"))
}

/// Whether what is written into this folder stays in memory. `false` where that cannot be told.
pub(crate) fn in_memory(folder: &Path) -> bool {
    /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of `linux/magic.h`.
    const MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    // The type's width differs between machines, its lower 32 bits hold the number.
    rustix::fs::statfs(folder).is_ok_and(|found| MEMORY.contains(&(found.f_type as u64 & 0xffff_ffff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(user: u32, runtime: Option<&str>, in_memory: fn(&Path) -> bool) -> Facts {
        Facts {
            user,
            runtime: runtime.map(Into::into),
            lingers: false,
            state_home: Some("/home/a/.local/state".into()),
            temporary: "/tmp".into(),
            in_memory,
        }
    }

    #[test]
    fn l6_state_of_root_lies_in_memory_where_there_is_some() {
        let place = |in_memory| facts(0, None, in_memory).state();
        assert_eq!(place(|_| true), Path::new("/run/hodei-worker"));
        assert_eq!(place(|path| path == Path::new("/dev/shm")), Path::new("/dev/shm/hodei-worker"));
        assert_eq!(place(|_| false), Path::new("/run/hodei-worker"));
    }

    #[test]
    fn l6_state_of_a_user_outlasts_the_log_out() {
        let place = |facts: Facts| facts.state();
        let runtime = Some("/run/user/1000");
        let lingering = Facts { lingers: true, ..facts(1000, runtime, |_| true) };
        assert_eq!(place(lingering), Path::new("/run/user/1000/hodei-worker"));
        let kept = Path::new("/home/a/.local/state/hodei-worker-state");
        assert_eq!(place(facts(1000, runtime, |_| true)), kept, "logind would take it away");
        assert_eq!(place(facts(1000, None, |_| true)), kept);
        assert_eq!(place(facts(1000, Some("/srv/run"), |_| true)), Path::new("/srv/run/hodei-worker"));
        let homeless = Facts { state_home: None, ..facts(1000, None, |_| true) };
        assert_eq!(place(homeless), Path::new("/tmp/hodei-worker-1000"));
    }

    #[test]
    fn c13_memory_is_told_from_other_file_systems() {
        assert!(!in_memory(Path::new("/proc")));
        assert!(!in_memory(Path::new("/no/such/folder")));
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let memory = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let (_, point, kind) = (words.next()?, words.next()?, words.next()?);
            (kind == "tmpfs").then(|| PathBuf::from(point))
        });
        assert!(in_memory(&memory.unwrap()));
    }
}
