//! Peers that supervise processes, as Debian has them: s6 and runit.

use std::{
    collections::HashSet,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use hodei_worker_benches::{
    Outcome,
    processes::{MARK, all, marked, memory},
};

/// A supervisor of a folder of services.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: &'static str,
}

pub(crate) const PEERS: [Peer; 2] =
    [Peer { name: "s6", program: "s6-svscan" }, Peer { name: "runit", program: "runsvdir" }];

/// Whether there is a program of that name.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

impl Peer {
    /// Whether it is installed.
    pub(crate) fn is_there(self) -> bool {
        is_installed(self.program)
    }

    /// Time until that many `sleep` services run.
    pub(crate) fn start(self, services: usize) -> Outcome<Duration> {
        let mark = format!("{}-{}", self.name, fastrand::u32(..));
        let folder: PathBuf = memory().join(&mark);
        for n in 0..services {
            let service = folder.join(format!("s{n}"));
            std::fs::create_dir_all(&service)?;
            let run = service.join("run");
            std::fs::write(&run, "#!/bin/sh\nexec sleep 1000\n")?;
            std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755))?;
        }
        let mut command = Command::new(self.program);
        if self.name == "s6" {
            command.args(["-c", "1000"]);
        }
        command.arg(&folder).env(MARK, &mark).stdout(Stdio::null()).stderr(Stdio::null());
        let before = all().collect();
        let begun = Instant::now();
        let mut scan = command.spawn()?;
        let running = wait_for(services, &before, &mark);
        let took = begun.elapsed();
        // The head first, or it starts anew what is ended.
        scan.kill()?;
        scan.wait()?;
        loop {
            let left = marked(&mark);
            if left.is_empty() {
                break;
            }
            let pids = left.iter().map(u32::to_string);
            Command::new("kill").arg("-9").args(pids).stderr(Stdio::null()).status()?;
        }
        std::fs::remove_dir_all(&folder)?;
        running.map(|()| took)
    }
}

/// Waits until that many `sleep` processes more than before are there, and carry the mark. It looks at the names of new
/// processes only: to read more of all of them, again and again, would slow down what is measured.
#[allow(clippy::disallowed_methods)] // Peers tell nobody when they are done.
fn wait_for(services: usize, before: &HashSet<u32>, mark: &str) -> Outcome {
    let end = Instant::now() + Duration::from_secs(60);
    let is_sleep = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "sleep")
    };
    let mut found = HashSet::new();
    while Instant::now() < end {
        let new: Vec<u32> = all().filter(|pid| !before.contains(pid) && !found.contains(pid)).collect();
        found.extend(new.into_iter().filter(is_sleep));
        if found.len() >= services {
            let ours: HashSet<u32> = marked(mark).into_iter().collect();
            found.retain(|pid| ours.contains(pid));
            if found.len() >= services {
                return Ok(());
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("only {} of {services} services came up", marked(mark).len()).into())
}
