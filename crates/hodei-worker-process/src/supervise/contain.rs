//! The end of a run: nothing of a worker outlives it.

use std::collections::BTreeSet;

use rustix::{
    io::Errno,
    process::{Pid, WaitOptions, wait},
};

use super::{MARKER, groups};
use crate::{proc, wire::GroupPlan};

/// How often what does not die is waited for, a second each.
const TRIES: u32 = 10;

/// Kills and reaps all that is left below this process and in the groups; whether it is all gone. What has escaped its
/// parents by a double fork is our child, since we are its subreaper.
///
/// Commands that were run beside the worker are neither; they carry `mark`, if there were any.
pub(super) fn kill_all(plan: &GroupPlan, mark: Option<&str>) -> bool {
    let own = std::process::id() as i32;
    let mut tries = 0;
    let mut gone = loop {
        groups::kill(plan);
        proc::kill(|| left(plan, own));
        // One death at least before the next look: children of the dead are ours then.
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {
                tries = 0;
                reap();
            }
            Err(Errno::INTR) => {}
            Ok(None) if tries < TRIES => {
                tries += 1;
                let left = left(plan, own);
                let running = left.iter().find(|pid| proc::is_running(**pid));
                running.or(left.first()).into_iter().for_each(|pid| wait_for(*pid));
            }
            // It has become another user's, or waits for a disk that does not answer.
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    // What came in from outside (commands run in the worker) has another parent, which reaps it.
    for _ in 0..TRIES {
        groups::kill(plan);
        let others = || {
            let mut others: BTreeSet<i32> = groups::processes(plan).into_iter().collect();
            others.extend(mark.into_iter().flat_map(|mark| proc::marked(MARKER, mark)));
            others.retain(|pid| *pid != own && proc::is_running(*pid));
            others
        };
        let killed = proc::kill(others);
        if killed.is_empty() {
            gone &= others().is_empty();
            break;
        }
        killed.into_iter().for_each(wait_for);
    }
    gone
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
