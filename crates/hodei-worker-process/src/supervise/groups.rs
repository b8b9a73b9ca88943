//! The control groups of a run, from inside: the supervisor makes them, starts the worker in them, and steps out again.

use std::{fs, io, path::Path};

use crate::{
    files, proc,
    wire::{Failure, Group, GroupPlan, Step},
};

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure {
        step: Step::Limits,
        what: path.display().to_string(),
        errno: error.raw_os_error().unwrap_or_default(),
    }
}

fn write_all(group: &Group, files: &[(String, String)]) -> Result<(), Failure> {
    for (name, value) in files {
        let file = group.path.join(name);
        fs::write(&file, value).map_err(|error| failed(&file, &error))?;
    }
    Ok(())
}

fn join(group: &Group, pid: &str) -> Result<(), Failure> {
    let procs = group.path.join("cgroup.procs");
    fs::write(&procs, pid).map_err(|error| failed(&procs, &error))
}

/// Moves a process that was started elsewhere into the groups of a run, with what it has started by then.
pub(crate) fn adopt(plan: &GroupPlan, pid: i32) -> Result<(), Failure> {
    if plan.all().next().is_none() {
        return Ok(());
    }
    let join_all = |pid: i32| plan.all().try_for_each(|group| join(group, &pid.to_string()));
    join_all(pid)?;
    for below in proc::descendants(pid) {
        // One that is over already cannot be moved, and need not be.
        let _ = join_all(below);
    }
    Ok(())
}

/// Makes the groups and sets all of their limits.
pub(crate) fn prepare(plan: &GroupPlan) -> Result<(), Failure> {
    make(plan)?;
    plan.all().try_for_each(|group| write_all(group, &group.after))
}

/// Makes the groups, sets their limits and moves this process into them, so that the worker is born there.
pub(super) fn enter(plan: &GroupPlan) -> Result<(), Failure> {
    make(plan)?;
    plan.all().try_for_each(|group| join(group, "0"))
}

fn make(plan: &GroupPlan) -> Result<(), Failure> {
    for group in plan.all() {
        let mut tries = 0;
        loop {
            match fs::create_dir(&group.path) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => break,
                // Whoever saw the groups above empty has removed them.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < 10 => make_above(group),
                Err(error) => return Err(failed(&group.path, &error)),
            }
            tries += 1;
        }
        write_all(group, &group.before)?;
    }
    Ok(())
}

fn make_above(group: &Group) {
    let _ = group.path.parent().map(fs::create_dir_all);
    for (file, value) in &group.above {
        let _ = fs::write(file, value);
    }
}

/// Whether a group is not there, or was removed between the opening of its file and the writing.
fn is_gone(error: &io::Error) -> bool {
    let no_device = rustix::io::Errno::NODEV.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(no_device)
}

/// Moves this process back: what happens to the worker's groups must not happen to its supervisor.
pub(super) fn leave(plan: &GroupPlan) -> Result<(), Failure> {
    let mut result = Ok(());
    for group in plan.all() {
        let set = write_all(group, &group.after);
        let procs = group.home.join("cgroup.procs");
        let mut left = fs::write(&procs, "0");
        for _ in 0..10 {
            if !left.as_ref().is_err_and(is_gone) {
                break;
            }
            // Whoever saw the supervisors' own empty has removed it.
            let _ = fs::create_dir_all(&group.home);
            left = fs::write(&procs, "0");
        }
        let left = left.map_err(|error| failed(&procs, &error));
        result = result.and(set).and(left);
    }
    result
}

/// Whether the kernel killed one of the group's processes for want of memory.
pub(crate) fn out_of_memory(plan: &GroupPlan) -> bool {
    let count = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    plan.all().any(|group| {
        count(&group.path.join("memory.events")) > 0 || count(&group.path.join("memory.oom_control")) > 0
    })
}

/// The processes in the groups.
pub(crate) fn processes(plan: &GroupPlan) -> Vec<i32> {
    let mut all = Vec::new();
    for group in plan.all() {
        let list = fs::read_to_string(group.path.join("cgroup.procs")).unwrap_or_default();
        all.extend(list.lines().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Kills all that is in the unified group at once, whatever it forks meanwhile. `false` where the kernel cannot.
pub(crate) fn kill(plan: &GroupPlan) -> bool {
    // A supervisor that could not step out would be the first to die.
    if processes(plan).contains(&(std::process::id() as i32)) {
        return false;
    }
    plan.unified.as_ref().is_some_and(|group| fs::write(group.path.join("cgroup.kill"), "1").is_ok())
}

/// Removes the groups, which must be empty.
pub(crate) fn remove(plan: &GroupPlan) -> io::Result<()> {
    for group in plan.all() {
        files::absent(fs::remove_dir(&group.path))?;
    }
    Ok(())
}
