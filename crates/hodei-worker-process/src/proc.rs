//! What `/proc` says about processes: light reading, by hand, since supervisors use it.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{self, Read as _},
    path::Path,
    sync::OnceLock,
};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::wire::ProcessId;

/// The machine's boot: a process of another boot is gone.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

struct Stat {
    state: u8,
    start: u64,
    /// Whether it executes a program at this moment: it has memory, and no place for an environment yet.
    executes: bool,
}

fn stat(pid: i32) -> Option<Stat> {
    // Fifty-two numbers and a short name, in one read.
    let mut text = [0; 2048];
    let length = fs::File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut text).ok()?;
    let text = &text[..length];
    // The name in parentheses may hold anything, parentheses too.
    let rest = &text[text.iter().rposition(|byte| *byte == b')')? + 1..];
    let rest = std::str::from_utf8(rest).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // The state is field 3, the start time field 22, the memory field 23, the end of the environment field 51.
    let start = fields.nth(18)?.parse().ok()?;
    let has_memory = fields.next()? != "0";
    let executes = has_memory && fields.nth(27)? == "0";
    Some(Stat { state, start, executes })
}

/// The process that has this number now.
pub(crate) fn identify(pid: i32) -> Option<ProcessId> {
    stat(pid).map(|stat| ProcessId { pid, start: stat.start })
}

/// This process.
pub(crate) fn own() -> Option<ProcessId> {
    // The same for as long as it lives.
    static OWN: OnceLock<ProcessId> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Some(*own);
    }
    let own = identify(std::process::id() as i32)?;
    Some(*OWN.get_or_init(|| own))
}

/// Whether this very process lives. A zombie is gone, whoever its parent is.
pub(crate) fn is_alive(process: ProcessId) -> bool {
    stat(process.pid).is_some_and(|stat| stat.start == process.start && !matches!(stat.state, b'Z' | b'X'))
}

/// All processes below `pid`, by the kernel's own lists of children.
pub(crate) fn descendants(pid: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut open = vec![pid];
    while let Some(parent) = open.pop() {
        for child in children(parent) {
            found.push(child);
            open.push(child);
        }
    }
    found
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The numbers of all processes.
fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// How often the environment of a process is read that has none yet: some tenths of a second on a busy machine.
const LOOKS: usize = 10_000;
/// How often that of a process that seems to have none, or half of one.
const DOUBTS: usize = 4;

/// The environment of a process, as far as we may look. One that executes a program at this moment shows none for an
/// instant, or the beginning of the last, and would be missed.
fn environment(pid: i32) -> Option<Vec<u8>> {
    let path = Path::new("/proc").join(pid.to_string()).join("environ");
    let mut doubts = 0;
    for _ in 0..LOOKS {
        let shown = read_at_once(&path).ok()?;
        if shown.last() == Some(&0) {
            return Some(shown);
        }
        if stat(pid)?.executes {
            std::thread::yield_now();
            continue;
        }
        // It may have been executed between the two looks.
        doubts += 1;
        if doubts == DOUBTS {
            return Some(shown);
        }
    }
    None
}

/// In as few reads as possible: between two of them the process may become another.
fn read_at_once(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let mut all = vec![0; 64 * 1024];
    let mut length = 0;
    loop {
        let read = file.read(&mut all[length..])?;
        length += read;
        if read == 0 || length < all.len() {
            all.truncate(length);
            return Ok(all);
        }
        all.resize(2 * length, 0);
    }
}

/// The value of a variable in the environment of a process, as far as we may look.
fn variable(pid: i32, name: &str) -> Option<Vec<u8>> {
    let environment = environment(pid)?;
    let mut variables = environment.split(|byte| *byte == 0);
    variables.find_map(|one| one.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec))
}

/// Whether the environment of a process holds `name=value`.
pub(crate) fn carries(pid: i32, name: &str, value: &str) -> bool {
    variable(pid, name).is_some_and(|found| found == value.as_bytes())
}

/// All processes whose environment holds `name=value`.
pub(crate) fn marked(name: &str, value: &str) -> Vec<i32> {
    all().filter(|pid| carries(*pid, name, value)).collect()
}

/// All processes whose environment holds that name, by its value.
pub(crate) fn marks(name: &str) -> HashMap<Vec<u8>, Vec<i32>> {
    let mut found = HashMap::<_, Vec<_>>::new();
    for pid in all() {
        if let Some(value) = variable(pid, name) {
            found.entry(value).or_default().push(pid);
        }
    }
    found
}

/// How many are killed at once, a descriptor each.
const AT_ONCE: usize = 64;

/// Kills what `look` finds, a part of it at least; returns what it has killed. `look` is asked again once no other
/// process can get their numbers, and those only are killed that it still finds.
pub(crate) fn kill(look: impl Fn() -> BTreeSet<i32>) -> Vec<i32> {
    let open = |pid: i32| pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok().map(|fd| (pid, fd));
    let held: Vec<_> = look().into_iter().filter_map(open).take(AT_ONCE).collect();
    if held.is_empty() {
        return Vec::new();
    }
    let still = look();
    let killed = held.into_iter().filter(|(pid, fd)| {
        still.contains(pid) && is_running(*pid) && pidfd_send_signal(fd, Signal::KILL).is_ok()
    });
    killed.map(|(pid, _)| pid).collect()
}

/// Whether a process of this number is more than a zombie.
pub(crate) fn is_running(pid: i32) -> bool {
    identify(pid).is_some_and(is_alive)
}

/// Sends a signal to a process that may be gone already.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l6_a_process_is_known_by_number_and_start() {
        let own = identify(std::process::id() as i32).unwrap();
        assert!(is_alive(own));
        assert!(!is_alive(ProcessId { start: own.start + 1, ..own }), "another process of that number");
    }

    #[test]
    fn l6_a_process_that_executes_programs_is_seen_all_the_time() {
        use std::os::unix::fs::PermissionsExt as _;
        let script = std::env::temp_dir().join(format!("hodei-again-{:x}", fastrand::u64(..)));
        fs::write(&script, "#!/bin/sh\nexec \"$0\"\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let mut child =
            std::process::Command::new("sh").arg(&script).env("HODEI_TEST_AGAIN", "1").spawn().unwrap();
        let seen = (0..300).filter(|_| carries(child.id() as i32, "HODEI_TEST_AGAIN", "1")).count();
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(script).unwrap();
        assert_eq!(seen, 300);
    }

    #[test]
    fn l6_a_zombie_counts_as_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = identify(child.id() as i32).unwrap();
        // Waits for the end and leaves the zombie.
        let pid = Pid::from_child(&child);
        rustix::process::waitid(
            rustix::process::WaitId::Pid(pid),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )
        .unwrap();
        assert!(identify(process.pid).is_some());
        assert!(!is_alive(process));
        child.wait().unwrap();
    }

    #[test]
    fn l6_a_zombie_whose_parent_is_not_ours_counts_as_gone() {
        // `sleep` inherits a child of which it knows nothing.
        let mut parent =
            std::process::Command::new("sh").args(["-c", "true & exec sleep 1000"]).spawn().unwrap();
        let number = parent.id() as i32;
        let below = || descendants(number);
        let mut seen = None;
        while !below().iter().filter_map(|pid| identify(*pid)).any(|child| {
            seen = Some(child);
            !is_alive(child)
        }) {
            assert!(parent.try_wait().unwrap().is_none());
            std::thread::yield_now();
        }
        assert!(seen.is_some_and(|child| identify(child.pid) == Some(child)), "it is still in the table");
        parent.kill().unwrap();
        parent.wait().unwrap();
    }
}
