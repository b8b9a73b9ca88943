//! What the tests of real processes share: an installation of their own, which is gone afterwards.
// Each test file uses a part, and a test may panic.
#![allow(dead_code, unused_imports, unused_macros, clippy::unwrap_used, clippy::expect_used)]

#[path = "../memory/mod.rs"]
pub(crate) mod memory;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hodei_worker_core::{
    ConnectContext, Result, WorkerConfig, WorkerHandle, WorkerPhase, WorkerProvider as _,
    WorkerProviderExt as _, WorkerRef, WorkerStatus,
    credential::MemoryCredentialProvider,
    model::{InstallationId, ProviderName, WorkerConfigBuilder},
    provider::{CreateOptions, DeleteOptions, StartOptions, WorkerFilter},
};
use hodei_worker_process::{ProcessProvider, ProcessSettings, Survival};
use libtest_mimic::Completion;

/// An installation with folders of its own.
pub(crate) struct Bed {
    pub(crate) folder: PathBuf,
    pub(crate) settings: ProcessSettings,
    pub(crate) installation: InstallationId,
    pub(crate) credentials: Arc<MemoryCredentialProvider>,
}

/// Time after which a test that hangs is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl Bed {
    /// One whose workers have supervisors.
    pub(crate) fn new() -> Self {
        let name = format!("t{:x}", fastrand::u64(..));
        let folder = memory::folder().join(format!("hodei-process-{name}"));
        let mut settings = ProcessSettings::default();
        settings.state_dir = Some(folder.join("state"));
        settings.log_dir = Some(folder.join("logs"));
        settings.supervisor = Some(env!("CARGO_BIN_EXE_hodei-supervise").into());
        settings.survival = Survival::Required;
        // By it the sweep after a run that was cut off knows the workers.
        settings.inherit.push("HODEI_TEST_RUN".into());
        let installation = InstallationId::new(name).unwrap();
        Self { folder, settings, installation, credentials: Arc::new(MemoryCredentialProvider::new()) }
    }

    /// One whose workers are children of the host.
    pub(crate) fn attached() -> Self {
        let mut bed = Self::new();
        bed.settings.supervisor = None;
        bed.settings.survival = Survival::Auto;
        bed
    }

    pub(crate) async fn connect(&self) -> ProcessProvider {
        self.try_connect().await.unwrap()
    }

    pub(crate) async fn try_connect(&self) -> Result<ProcessProvider> {
        let name = ProviderName::new("local").unwrap();
        let credentials = Arc::clone(&self.credentials);
        let context = ConnectContext::new(name, self.installation.clone()).with_credentials(credentials);
        ProcessProvider::connect(self.settings.clone(), context).await
    }

    /// The installation's state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state").join(self.installation.as_str())
    }

    /// The control groups below which those of this installation's runs are.
    fn groups(&self) -> Vec<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter(|line| line.contains(" - cgroup"));
        let points = points.filter_map(|line| line.split(' ').nth(4));
        points.map(|point| Path::new(point).join("hodei-worker").join(self.installation.as_str())).collect()
    }

    /// A script's beginning: a process that forks twice, leaves its session and closes what it had. It has been born
    /// when the next command is run.
    pub(crate) fn escape(&self) -> String {
        let born = self.folder.join("born");
        if !born.exists() {
            fs::create_dir_all(&self.folder).unwrap();
            rustix::fs::mkfifoat(rustix::fs::CWD, &born, rustix::fs::Mode::RWXU).unwrap();
            fs::set_permissions(&born, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let born = born.display();
        format!(
            "(setsid sh -c \"(sh -c 'echo > {born}; exec sleep 1000' <&- >&- 2>&- &)\" &); read born < {born}; "
        )
    }

    /// Removes everything that still exists, and shows that nothing is left.
    pub(crate) async fn clean(self) {
        let provider = self.connect().await;
        for status in provider.list_workers(&WorkerFilter::all()).await.unwrap().workers {
            provider.delete_worker(&status.worker, &DeleteOptions::default()).await.unwrap();
        }
        drop(provider);
        for folder in ["workers", "locks", "started", "stopping", "exits", "new", "trash"] {
            let left: Vec<_> = fs::read_dir(self.state().join(folder)).unwrap().flatten().collect();
            assert!(left.is_empty(), "{folder}: {left:?}");
        }
        assert_eq!(marked(self.installation.as_str()), Vec::<i32>::new(), "processes are left");
        // That of the supervisors stays as long as there is a provider.
        let of_runs = |group: &fs::DirEntry| group.path().is_dir() && group.file_name() != "supervisors";
        let groups = self.groups();
        let groups = groups.iter().flat_map(fs::read_dir).flatten().flatten();
        let left: Vec<_> = groups.filter(of_runs).map(|group| group.path()).collect();
        assert!(left.is_empty(), "control groups are left: {left:?}");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // A test that failed leaves processes; they are known by their mark.
        for pid in marked(self.installation.as_str()) {
            kill(pid);
        }
        let _ = fs::remove_dir_all(&self.folder);
        for own in self.groups() {
            for entry in fs::read_dir(&own).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(entry.path());
            }
            let _ = fs::remove_dir(&own);
            let _ = own.parent().map(fs::remove_dir);
        }
    }
}

/// The live processes that carry this installation's mark.
pub(crate) fn marked(installation: &str) -> Vec<i32> {
    let wanted = format!("HODEI_WORKER_RUN={installation}/");
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one.starts_with(wanted.as_bytes())))
        })
        .filter(|pid| is_alive(*pid))
        .collect()
}

pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

pub(crate) fn kill(pid: i32) {
    use rustix::process::{Pid, Signal, kill_process};
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

/// A worker that runs this shell script.
pub(crate) fn script(id: &str, script: &str) -> WorkerConfigBuilder {
    WorkerConfig::builder(id).command(["/bin/sh", "-c", script])
}

pub(crate) async fn start(provider: &ProcessProvider, config: WorkerConfigBuilder) -> WorkerRef {
    create_and_start(provider, config).await.unwrap().worker
}

pub(crate) async fn create_and_start(
    provider: &ProcessProvider,
    config: WorkerConfigBuilder,
) -> Result<WorkerHandle> {
    let handle = provider.create_worker(&config.build()?, &CreateOptions::default()).await?;
    provider.start_worker(&handle.worker, &StartOptions::default()).await?;
    Ok(handle)
}

/// The status once the worker has ended.
pub(crate) async fn end(provider: &ProcessProvider, worker: &WorkerRef) -> Arc<WorkerStatus> {
    match tokio::time::timeout(PATIENCE, provider.wait_for_exit(worker)).await {
        Ok(ended) => ended.unwrap(),
        Err(_) => panic!("it does not end: {:?}", status(provider, worker).await),
    }
}

pub(crate) async fn status(provider: &ProcessProvider, worker: &WorkerRef) -> Arc<WorkerStatus> {
    provider.get_worker_status(worker).await.unwrap()
}

pub(crate) async fn phase(provider: &ProcessProvider, worker: &WorkerRef) -> WorkerPhase {
    status(provider, worker).await.phase
}

/// The record of a worker's last run in the state folder, one of `started` and `exits`.
pub(crate) fn record(bed: &Bed, folder: &str, worker: &WorkerRef) -> Option<serde_json::Value> {
    let prefix = format!("{}.{}.", worker.id, worker.generation);
    let mut names: Vec<_> = fs::read_dir(bed.state().join(folder))
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect();
    names.sort();
    serde_json::from_slice(&fs::read(bed.state().join(folder).join(names.last()?)).unwrap()).ok()
}

/// The numbers of a running worker's process and of its supervisor.
pub(crate) fn pids(bed: &Bed, worker: &WorkerRef) -> (i32, i32) {
    let started = record(bed, "started", worker).expect("it has been started");
    let pid = |of: &str| started[of]["pid"].as_i64().unwrap() as i32;
    (pid("process"), pid("supervisor"))
}

/// Waits until something is the case that nothing tells of.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "it never happens");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// All that a worker has written.
pub(crate) async fn text(provider: &ProcessProvider, worker: &WorkerRef) -> String {
    let all = hodei_worker_core::provider::LogOptions::all();
    String::from_utf8_lossy(&provider.collect_logs(worker, &all).await.unwrap()).into_owned()
}

/// A list of trials, one for each of these async functions.
macro_rules! trials {
    ($($name:ident),+ $(,)?) => { vec![$(crate::common::trial(stringify!($name), $name)),+] };
}
pub(crate) use trials;

/// A trial on a runtime of its own.
pub(crate) fn trial<T: Outcome>(
    name: &str,
    test: impl AsyncFnOnce() -> T + Send + 'static,
) -> libtest_mimic::Trial {
    libtest_mimic::Trial::ignorable_test(name, || Ok(runtime().block_on(test()).completion()))
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What a test of a trial returns: nothing, or whether it could be shown here.
pub(crate) trait Outcome {
    fn completion(self) -> Completion;
}

impl Outcome for () {
    fn completion(self) -> Completion {
        Completion::Completed
    }
}

impl Outcome for Completion {
    fn completion(self) -> Completion {
        self
    }
}

/// The report of a test that needs root where there is none.
pub(crate) fn not_root() -> Option<Completion> {
    let ignored = || Completion::ignored_with("only root can act as another user");
    (!rustix::process::geteuid().is_root()).then(ignored)
}
