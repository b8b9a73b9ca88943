//! The end of a run: nothing of a worker outlives it.

use std::collections::BTreeSet;

use rustix::{
    io::Errno,
    process::{Pid, WaitOptions, wait},
};

use super::{MARKER, groups};
use crate::{proc, wire::GroupPlan};

/// Kills and reaps all that is left below this process and in the groups. What has escaped its parents by a double
/// fork is our child, since we are its subreaper.
///
/// Commands that were run beside the worker are neither; they carry `mark`, if there were any.
pub(super) fn kill_all(plan: &GroupPlan, mark: Option<&str>) {
    let own = std::process::id() as i32;
    loop {
        groups::kill(plan);
        proc::kill(|| left(plan, own));
        // One death at least before the next look: children of the dead are ours then.
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => reap(),
            Err(_) => break,
        }
    }
    // What came in from outside (commands run in the worker) has another parent, which reaps it.
    for _ in 0..100 {
        groups::kill(plan);
        let others = proc::kill(|| {
            let mut others: BTreeSet<i32> = groups::processes(plan).into_iter().collect();
            others.extend(mark.into_iter().flat_map(|mark| proc::marked(MARKER, mark)));
            others.retain(|pid| *pid != own && proc::is_running(*pid));
            others
        });
        if others.is_empty() {
            break;
        }
        others.into_iter().for_each(wait_for);
    }
}

fn left(plan: &GroupPlan, own: i32) -> BTreeSet<i32> {
    let mut all: BTreeSet<i32> = proc::descendants(own).into_iter().chain(groups::processes(plan)).collect();
    all.remove(&own);
    all
}

/// Reaps whatever has ended.
pub(super) fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// Waits for the end of a process that is not our child, for a second at most.
pub(crate) fn wait_for(pid: i32) {
    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        process::{PidfdFlags, pidfd_open},
    };
    let Some(pid) = Pid::from_raw(pid) else { return };
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&second));
}
