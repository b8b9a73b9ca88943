//! An installation that is gone afterwards, and a monitor on it.
#![allow(dead_code)] // Each test binary uses a part of it.

use std::{net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, WorkerConfig, WorkerPhase, WorkerProvider, WorkerProviderExt as _, WorkerRef,
    WorkerStatus,
    health::{self, HealthMonitor, HealthReport, HealthSettings, Subject},
    lifecycle::HealthChange,
    model::{HealthCheckConfig, InstallationId, Port, WorkerConfigBuilder},
    process::{ProcessSettings, Survival},
    provider::{CreateOptions, DeleteOptions, ExecOptions, StartOptions, WatchOptions, WorkerFilter},
    quantity::HumanDuration,
};
use tokio::sync::mpsc;

pub(crate) struct Bed {
    pub(crate) provider: Arc<dyn WorkerProvider>,
    pub(crate) installation: InstallationId,
    pub(crate) folder: PathBuf,
    pub(crate) monitor: HealthMonitor,
    reports: tokio::sync::Mutex<mpsc::Receiver<HealthReport>>,
}

/// Time after which a test that hangs is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl Bed {
    /// One of local processes.
    pub(crate) async fn new(settings: &HealthSettings) -> Self {
        let (installation, folder) = place();
        let mut process = ProcessSettings::default();
        process.state_dir = Some(folder.join("state"));
        process.log_dir = Some(folder.join("logs"));
        process.survival = Survival::Required;
        process.inherit.push("HODEI_TEST_RUN".into());
        let context = ConnectContext::new("local".parse().unwrap(), installation.clone());
        let provider = hodei_worker::connect(process, context).await.unwrap();
        Self::on(provider, installation, folder, settings)
    }

    /// One of the containers of the engine under test.
    #[cfg(feature = "docker")]
    pub(crate) async fn on_engine() -> Self {
        let host = std::env::var("HODEI_TEST_DOCKER_HOST")
            .expect("these tests need a Docker Engine; run `cargo xtask test --only facade`");
        let (installation, folder) = place();
        let context = ConnectContext::new("docker".parse().unwrap(), installation.clone());
        let settings = hodei_worker::docker::DockerSettings::at(host);
        let provider = hodei_worker::connect(settings, context).await.unwrap();
        Self::on(provider, installation, folder, &HealthSettings::default())
    }

    /// One of the pods of the cluster under test, whose addresses this host is not to reach.
    #[cfg(feature = "kubernetes")]
    pub(crate) async fn outside_of_a_cluster() -> Self {
        let file = std::env::var("HODEI_TEST_KUBECONFIG")
            .expect("these tests need a cluster; run `cargo xtask test --only facade`");
        let (installation, folder) = place();
        let context = ConnectContext::new("cluster".parse().unwrap(), installation.clone());
        let settings = hodei_worker::kubernetes::KubernetesSettings::from_kubeconfig(file);
        let provider = hodei_worker::connect(settings, context).await.unwrap();
        Self::on(provider, installation, folder, &HealthSettings::default())
    }

    fn on(
        provider: Arc<dyn WorkerProvider>,
        installation: InstallationId,
        folder: PathBuf,
        settings: &HealthSettings,
    ) -> Self {
        let (send, reports) = mpsc::channel(16);
        let monitor = HealthMonitor::start(settings, send).unwrap();
        Self { provider, installation, folder, monitor, reports: reports.into() }
    }

    /// A worker that is this program as a server: see `server.rs`.
    pub(crate) fn server(&self, kind: &str, port: u16) -> WorkerConfigBuilder {
        let program = std::env::current_exe().unwrap().display().to_string();
        WorkerConfig::builder(kind)
            .command([program, "serve".to_owned(), kind.to_owned(), port.to_string()])
            .args([self.file().display().to_string()])
            .port(Port::tcp(port).on_host_port(port))
    }

    /// Is there while a worker shall be well.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("well")
    }

    /// Creates and starts the worker as a manager would: with those of its checks that its provider makes.
    pub(crate) async fn run(&self, config: WorkerConfigBuilder) -> (WorkerConfig, Arc<WorkerStatus>) {
        let config = config.build().unwrap();
        let capabilities = self.provider.get_capabilities().await.unwrap();
        let plan = health::plan(&config, &capabilities).unwrap();
        let its_own = plan.for_provider(&config).unwrap();
        let worker = self.provider.create_worker(&its_own, &CreateOptions::default()).await.unwrap().worker;
        self.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let status = self
            .provider
            .wait_until(&worker, &|status: &WorkerStatus| status.phase == WorkerPhase::Running)
            .await
            .unwrap();
        (config, status)
    }

    pub(crate) async fn watch(&self, config: &WorkerConfig, status: &Arc<WorkerStatus>) {
        let capabilities = self.provider.get_capabilities().await.unwrap();
        self.monitor.watch(Subject {
            worker_type: None,
            worker: status.worker.clone(),
            run: status.run.clone().unwrap(),
            checks: health::plan(config, &capabilities).unwrap().for_host(),
            provider: Arc::clone(&self.provider),
            status: Arc::clone(status),
        });
    }

    pub(crate) async fn run_and_watch(&self, config: WorkerConfigBuilder) -> WorkerRef {
        let (config, status) = self.run(config).await;
        self.watch(&config, &status).await;
        status.worker.clone()
    }

    /// Tells the monitor what the provider tells, as a manager would.
    pub(crate) fn observe(&self) -> tokio::task::JoinHandle<()> {
        let (provider, monitor) = (Arc::clone(&self.provider), self.monitor.clone());
        tokio::spawn(async move {
            let mut changes = provider.watch_workers(&WatchOptions::default()).await.unwrap();
            while let Some(change) = changes.next().await {
                if let Some(status) = change.unwrap().status() {
                    monitor.observed(status);
                }
            }
        })
    }

    pub(crate) async fn healthy(&self) {
        self.until("healthy", |change| *change == HealthChange::Healthy).await;
    }

    pub(crate) async fn unhealthy(&self, why: &str) {
        let is_it = |change: &HealthChange| matches!(change, HealthChange::Unhealthy { reason } if reason.contains(why));
        self.until(why, is_it).await;
    }

    /// Waits for a change; on a busy machine there may be others.
    async fn until(&self, what: &str, is_it: impl Fn(&HealthChange) -> bool) {
        let mut reports = self.reports.lock().await;
        let mut seen = Vec::new();
        let found = async {
            loop {
                let change = reports.recv().await.expect("the monitor lives").change;
                if is_it(&change) {
                    return;
                }
                seen.push(change);
            }
        };
        if tokio::time::timeout(PATIENCE, found).await.is_err() {
            panic!("never `{what}`, but {seen:?}");
        }
    }

    /// Runs a shell script beside the worker, to its end.
    pub(crate) async fn exec(&self, worker: &WorkerRef, script: &str) {
        let options = ExecOptions::new(["sh", "-c", script]);
        let exit = self.provider.exec_in_worker(worker, &options).await.unwrap().exit().await.unwrap();
        assert!(exit.is_success(), "{script}: {exit}");
    }

    pub(crate) async fn clean(&self) {
        for status in self.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers {
            self.provider.delete_worker(&status.worker, &DeleteOptions::default()).await.unwrap();
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // A test that failed leaves processes; they are known by their mark.
        for pid in marked(&self.installation) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A name and a folder that no other test has.
fn place() -> (InstallationId, PathBuf) {
    let name = format!("h{:x}", fastrand::u64(..));
    let base = std::env::var_os("HODEI_TEST_MEMORY").map_or_else(|| "/dev/shm".into(), PathBuf::from);
    let folder = base.join(format!("hodei-health-{name}"));
    (InstallationId::new(name).unwrap(), folder)
}

/// The processes of an installation's workers.
fn marked(installation: &InstallationId) -> Vec<i32> {
    let mark = format!("HODEI_WORKER_RUN={installation}/");
    let carries = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(carries).collect()
}

/// A check that is made often, with time enough for a busy machine.
pub(crate) fn often(check: HealthCheckConfig) -> HealthCheckConfig {
    check.every(HumanDuration::secs(2)).within(HumanDuration::secs(2)).thresholds(1, 1)
}

/// A port that nobody listens on at present.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
