//! Taking away what a run left, whether it ended or was cut off: by our own names only.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;
use rustix::process::Signal;

use crate::failure::{Context, Result};
use crate::parts::kubernetes::sweep as clusters;
use crate::process::{self, Process, Record};
use crate::site::Site;
use crate::tools::apt;
use crate::{run, scratch, stop};

/// Marks a state folder whose parts were left running on purpose.
pub(crate) const KEPT: &str = "kept";

/// The bridge of a checkout's engine (an interface's name holds 15 bytes).
pub(crate) fn bridge(hash: &str) -> String {
    format!("hodei-t{hash}")
}

/// The bridge of its engine of the newest release.
pub(crate) fn bridge_of_newest(hash: &str) -> String {
    format!("hodei-u{hash}")
}

/// The bridge of its engine that gives users other numbers.
pub(crate) fn bridge_of_remapped(hash: &str) -> String {
    format!("hodei-v{hash}")
}

fn bridges(hash: &str) -> [String; 3] {
    [bridge(hash), bridge_of_newest(hash), bridge_of_remapped(hash)]
}

/// The interfaces of a checkout, but for those that its engines name by themselves.
fn links_of(hash: &str) -> Vec<String> {
    bridges(hash).into_iter().chain(clusters::links(hash)).collect()
}

/// Whether an interface is of some checkout's.
fn is_ours(link: &str) -> bool {
    let is_bridge = |start: &str| link.strip_prefix(start).is_some_and(is_hash);
    clusters::is_link(link) || ["hodei-t", "hodei-u", "hodei-v"].iter().any(|start| is_bridge(start))
}

/// The cgroup that holds every container of a checkout's engine.
pub(crate) fn cgroup(hash: &str) -> String {
    format!("/hodei-test-{hash}")
}

/// What to do with a state folder that was found.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Kept running by `backends up` or `--keep`.
    Leave,
    Remove,
}

fn judge(kept: bool, alive: usize, recorded: usize) -> Verdict {
    // A folder that says "kept" and whose parts have died (a reboot, a kill) is a leftover like any other.
    if kept && recorded > 0 && recorded == alive { Verdict::Leave } else { Verdict::Remove }
}

/// Removes what cut-off runs of any checkout left. The machine's lock must be held.
pub(crate) fn leftovers(site: &Site) -> Result<()> {
    apt::sweep();
    ours(site, "left by an earlier run")?;
    let mut known = HashSet::new();
    let mut kept = Vec::new();
    for entry in fs::read_dir(&site.base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_hash(&name) || !entry.path().is_dir() {
            continue;
        }
        let records = Record::all(&entry.path());
        let alive = records.iter().filter(|record| record.identity.alive()).count();
        if judge(entry.path().join(KEPT).exists(), alive, records.len()) == Verdict::Leave {
            known.extend(links_of(&name));
            kept.push(name);
            continue;
        }
        if !records.is_empty() {
            println!("sweeping what an earlier run left in {}", entry.path().display());
        }
        folder(&entry.path(), &name)?;
    }
    for link in links().iter().filter(|link| is_ours(link)) {
        if !known.contains(link) {
            delete_link(link);
        }
    }
    clusters::unknown(&kept);
    Ok(())
}

/// Ends and removes everything that belongs to one state folder.
pub(crate) fn folder(state: &Path, hash: &str) -> Result<()> {
    clusters::all(state, hash);
    let group = cgroup(hash);
    kill_where(|process| in_cgroup(process, &group));
    let records = Record::all(state);
    std::thread::scope(|scope| {
        for record in &records {
            scope.spawn(|| record.identity.end(Duration::from_secs(10)));
        }
    });
    kill_where(|process| is_part_of(process, state));
    // Again: an engine that was on its way down may have started one more.
    kill_where(|process| in_cgroup(process, &group));
    remove_cgroups(&group);
    for link in links() {
        if bridges(hash).contains(&link) || is_network_of(&link, state) {
            delete_link(&link);
        }
    }
    for mount in mounts_below(state, &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()) {
        rustix::mount::unmount(&mount, UnmountFlags::DETACH)
            .context(format_args!("unmounting {}", mount.display()))?;
    }
    match fs::remove_dir_all(state) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(format_args!("removing {}", state.display()))
        }
        _ => Ok(()),
    }
}

/// Ends what was started below a run of ours and outlived it, and removes its temporary files.
pub(crate) fn ours(site: &Site, why: &str) -> Result<()> {
    let scratch = scratch::all();
    marked(site, &scratch, why);
    scratch.iter().try_for_each(|folder| scratch::remove(folder))
}

/// Ends what carries the mark of a run of ours, and the supervisors of workers whose state lies in these folders.
/// Gives their number.
fn marked(site: &Site, scratch: &[PathBuf], why: &str) -> usize {
    let own = process::lineage();
    let mut told = HashSet::new();
    kill_where(|process| {
        let found =
            process.is_marked_by(&site.base) || scratch.iter().any(|folder| supervises(process, folder));
        let found = found && !own.contains(&process.identity.pid);
        if found && told.insert(process.identity.pid) {
            println!("ending {} ({}), {why}", process.name, process.identity.pid);
        }
        found
    });
    told.len()
}

/// Ends them, and looks again: what was forked meanwhile is one of them.
pub(crate) fn kill_where(mut condition: impl FnMut(&Process) -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    let mut empty = 0;
    // One look may pass by what is between two processes: started after the list was made, by one that has left since.
    while empty < 3 && Instant::now() < end {
        let found: Vec<_> = process::all().into_iter().filter(|process| condition(process)).collect();
        empty = if found.is_empty() { empty + 1 } else { 0 };
        found.iter().for_each(|process| process.identity.signal(Signal::KILL));
        stop::settle(Duration::from_millis(20));
    }
}

pub(crate) fn in_cgroup(process: &Process, group: &str) -> bool {
    process.cgroups.iter().any(|line| {
        let path = line.splitn(3, ':').nth(2).unwrap_or_default();
        path.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// The programs that parts run. The kernel keeps 15 letters of a name.
const PROGRAMS: [&str; 15] = [
    "bao",
    "dockerd",
    "docker-registry",
    "etcd",
    "java",
    "kube-apiserver",
    "kube-controller",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
    "metrics-server",
    "pause",
    "postgres",
    "python",
    "runc",
];

/// Engine, registry, servers and the programs of a cluster name our folder on their command line, as do containerd and its
/// shims. They are ours also where the run was cut off before it had written down their pids.
pub(crate) fn is_part_of(process: &Process, state: &Path) -> bool {
    let value = |argument: &str| PathBuf::from(argument.split_once('=').map_or(argument, |(_, value)| value));
    (process.name.starts_with("containerd") || PROGRAMS.contains(&process.name.as_str()))
        && process.arguments.iter().any(|argument| value(argument).starts_with(state))
}

/// A worker's supervisor keeps nothing of its host's environment, but names the folder of its installation.
fn supervises(process: &Process, folder: &Path) -> bool {
    process.arguments.first().is_some_and(|name| name.ends_with("hodei-supervise"))
        && process.arguments.iter().any(|argument| Path::new(argument).starts_with(folder))
}

pub(crate) fn is_hash(name: &str) -> bool {
    name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

/// The roots of the cgroups: one for each controller, or one alone.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    let is_one = |folder: &PathBuf| folder.join("cgroup.procs").exists();
    if is_one(&root) {
        return vec![root];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_one).collect()
}

pub(crate) fn remove_cgroups(group: &str) {
    for root in hierarchies() {
        remove_cgroup(&root.join(group.trim_start_matches('/')));
    }
}

pub(crate) fn remove_cgroup(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    // Fails where it does not exist, and where a process is still leaving: the next sweep tries again.
    let _ = fs::remove_dir(folder);
}

/// The interfaces of this network namespace (`/sys` may show those of another).
pub(crate) fn links() -> Vec<String> {
    let list = run::output(Command::new("ip").args(["-o", "link", "show"])).unwrap_or_default();
    parse_links(&list)
}

/// Names from lines like `4: veth1@if3: <BROADCAST,…`.
fn parse_links(list: &str) -> Vec<String> {
    let names = list.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next());
    names.map(str::to_owned).collect()
}

fn delete_link(link: &str) {
    if let Err(error) = run::output(Command::new("ip").args(["link", "delete", link])) {
        println!("could not remove the interface {link}: {error}");
    }
}

/// A bridge that our engine made for a network: its id stands in the engine's own store.
fn is_network_of(link: &str, state: &Path) -> bool {
    let Some(id) = link.strip_prefix("br-").filter(|id| id.len() == 12) else { return false };
    ["data", "newest/data"].iter().any(|data| {
        let store = fs::read(state.join(data).join("network/files/local-kv.db")).unwrap_or_default();
        store.windows(id.len()).any(|window| window == id.as_bytes())
    })
}

/// Mount points below `folder`, the innermost first.
fn mounts_below(folder: &Path, mountinfo: &str) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let mut below: Vec<_> = points
        .map(|point| PathBuf::from(point.replace("\\040", " ")))
        .filter(|point| point.starts_with(folder))
        .collect();
    below.reverse();
    below
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Identity;

    fn process(name: &str, arguments: &[&str], cgroups: &[&str]) -> Process {
        Process {
            identity: Identity { pid: 1, start: 1, boot: String::new() },
            name: name.into(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            cgroups: cgroups.iter().map(ToString::to_string).collect(),
            mark: None,
        }
    }

    #[test]
    fn only_a_kept_folder_whose_parts_all_live_is_left() {
        assert_eq!(judge(true, 2, 2), Verdict::Leave);
        assert_eq!(judge(true, 1, 2), Verdict::Remove);
        assert_eq!(judge(true, 0, 0), Verdict::Remove);
        assert_eq!(judge(false, 2, 2), Verdict::Remove);
    }

    #[test]
    fn a_process_is_ours_by_its_whole_cgroup_name() {
        let group = cgroup("0a0b0c0d");
        assert!(in_cgroup(&process("sh", &[], &["4:memory:/hodei-test-0a0b0c0d/ff"]), &group));
        assert!(!in_cgroup(&process("sh", &[], &["4:memory:/hodei-test-0a0b0c0d2/ff"]), &group));
        assert!(!in_cgroup(&process("sh", &[], &["4:memory:/docker/hodei-test-0a0b0c0d"]), &group));
    }

    #[test]
    fn a_part_is_known_by_our_folder_and_its_program() {
        let state = Path::new("/run/hodei-test/0a0b0c0d");
        let path = "/run/hodei-test/0a0b0c0d/exec/containerd/containerd.sock";
        assert!(is_part_of(&process("containerd-shim", &["-address", path], &[]), state));
        let root = ["/usr/sbin/dockerd", "--data-root", "/run/hodei-test/0a0b0c0d/data"];
        assert!(is_part_of(&process("dockerd", &root, &[]), state));
        let etcd = ["etcd", "--data-dir=/run/hodei-test/0a0b0c0d/kubernetes/etcd"];
        assert!(is_part_of(&process("etcd", &etcd, &[]), state));
        assert!(is_part_of(&process("etcd", &etcd, &[]), &state.join("kubernetes")));
        assert!(!is_part_of(&process("etcd", &etcd, &[]), &state.join("kubernetes-newest")));
        let java = ["java", "-Dkc.home.dir=/run/hodei-test/0a0b0c0d/keycloak", "-cp", "/cache/a.jar"];
        assert!(is_part_of(&process("java", &java, &[]), state));
        assert!(!is_part_of(&process("java", &["java", "-cp", "/cache/a.jar"], &[]), state));
        assert!(!is_part_of(&process("tail", &["-f", path], &[]), state));
        assert!(!is_part_of(&process("containerd", &["/run/hodei-test/0a0b0c0d9/x"], &[]), state));
    }

    #[test]
    fn a_supervisor_is_known_by_its_name_and_the_folder_of_its_installation() {
        let folder = Path::new("/tmp/hodei-scratch-0-0a1b2c3d");
        let state = "/tmp/hodei-scratch-0-0a1b2c3d/hodei-process-t1/state/t1";
        assert!(supervises(
            &process("exe", &["hodei-supervise", "--supervise", state, "a.1.1"], &[]),
            folder
        ));
        assert!(!supervises(&process("ls", &["ls", state], &[]), folder));
        let other = "/run/hodei-worker/t1";
        assert!(!supervises(&process("exe", &["hodei-supervise", "--supervise", other], &[]), folder));
    }

    #[test]
    fn what_forks_while_it_is_ended_is_ended_too_and_another_base_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("hodei-xtask-base-{}", std::process::id()));
        let site = Site { base: folder.clone(), ..Site::find().unwrap() };
        let start = |base: &Path, script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script, script, "0"]).env(process::MARK, process::mark_of(base, "0a1b2c3d"));
            command.stdin(std::process::Stdio::null()).spawn().unwrap()
        };
        // A chain in which each starts the next and leaves.
        let next = r#"sleep 0.1; [ "$1" -lt 200 ] && sh -c "$0" "$0" $(($1 + 1)) & sleep 0.2"#;
        let mut chain = start(&folder, next);
        let mut other = start(&folder.join("another"), "sleep 100");
        assert!(marked(&site, &[], "in a test") > 0);
        let left: Vec<_> = process::all().into_iter().filter(|one| one.is_marked_by(&folder)).collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(other.try_wait().unwrap().is_none(), "another's process was ended");
        other.kill().unwrap();
        other.wait().unwrap();
        chain.wait().unwrap();
    }

    #[test]
    fn mounts_are_taken_from_the_inside_out() {
        let text =
            "1 0 0:1 / /run/s rw - a a a\n2 1 0:2 / /run/s/a rw - a a a\n3 0 0:3 / /run/st rw - a a a\n";
        let below = mounts_below(Path::new("/run/s"), text);
        assert_eq!(below, [PathBuf::from("/run/s/a"), PathBuf::from("/run/s")]);
    }

    #[test]
    fn an_interface_is_named_without_its_peer() {
        let list = "1: lo: <LOOPBACK,UP> mtu 65536\n7: veth1@if3: <BROADCAST> mtu 1500\n";
        assert_eq!(parse_links(list), ["lo", "veth1"]);
    }

    #[test]
    fn a_state_folder_has_the_name_of_a_hash() {
        assert!(is_hash("0a1b2c3d"));
        assert!(!is_hash("lock") && !is_hash("0A1B2C3D") && !is_hash("0a1b2c3d4"));
    }
}
