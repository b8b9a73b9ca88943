//! An installation of one case's own, which is gone afterwards.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hodei_worker::{
    ConnectContext, WorkerConfig, WorkerId, WorkerProvider, WorkerProviderExt as _,
    lifecycle::Worker,
    manager::{ManagerBuilder, ManagerSettings, WorkerManager},
    model::{InstallationId, WorkerConfigBuilder},
    process::{ProcessSettings, Survival},
    provider::{DeleteOptions, LogOptions, WorkerFilter},
    quantity::HumanDuration,
    store::{MemoryStore, Store},
    testkit::eventually,
};

/// Where workers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Process,
    Docker,
}

impl Place {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
        }
    }
    /// Whether it is not there. Without a feature or an engine there is none.
    pub(crate) fn absent(self) -> bool {
        match self {
            Self::Process => false,
            Self::Docker => cfg!(not(feature = "docker")) || std::env::var("HODEI_TEST_DOCKER_HOST").is_err(),
        }
    }
}

pub(crate) struct Bed {
    pub(crate) place: Place,
    pub(crate) installation: InstallationId,
    pub(crate) store: Arc<dyn Store>,
    folder: PathBuf,
}

/// What a sleeper says first.
const READY: &str = "ready";

impl Bed {
    pub(crate) fn new(place: Place) -> Self {
        let name = format!("m{:x}", fastrand::u64(..));
        let base =
            std::env::var_os("HODEI_TEST_MEMORY").map_or_else(|| PathBuf::from("/dev/shm"), PathBuf::from);
        Self {
            place,
            folder: base.join(format!("hodei-manager-{name}")),
            installation: InstallationId::new(name).unwrap(),
            store: Arc::new(MemoryStore::new()),
        }
    }

    pub(crate) async fn provider(&self) -> Arc<dyn WorkerProvider> {
        self.provider_named(self.place.name()).await
    }

    /// A provider beside the usual one: processes have a place of their own, containers their engine with an installation
    /// of its own.
    pub(crate) async fn provider_named(&self, name: &str) -> Arc<dyn WorkerProvider> {
        let usual = name == self.place.name();
        let installation = if usual {
            self.installation.clone()
        } else {
            InstallationId::new(format!("{}-{name}", self.installation)).unwrap()
        };
        let context = ConnectContext::new(name.parse().unwrap(), installation);
        match self.place {
            Place::Process => {
                let mut settings = ProcessSettings::default();
                settings.state_dir = Some(self.folder.join("state"));
                settings.log_dir = Some(self.folder.join("logs"));
                settings.survival = Survival::Required;
                settings.inherit.push("HODEI_TEST_RUN".into());
                hodei_worker::connect(settings, context).await.unwrap()
            }
            #[cfg(feature = "docker")]
            Place::Docker => {
                let host = std::env::var("HODEI_TEST_DOCKER_HOST").unwrap();
                let settings = hodei_worker::docker::DockerSettings::at(host);
                hodei_worker::connect(settings, context).await.unwrap()
            }
            #[cfg(not(feature = "docker"))]
            Place::Docker => unreachable!("ignored without the feature"),
        }
    }

    pub(crate) fn settings() -> ManagerSettings {
        let mut settings = ManagerSettings::default();
        settings.sweep_after = HumanDuration::millis(100);
        settings
    }

    pub(crate) async fn builder(&self) -> ManagerBuilder {
        WorkerManager::builder(Arc::clone(&self.store))
            .provider(self.provider().await)
            .settings(Self::settings())
    }

    pub(crate) async fn manager(&self) -> WorkerManager {
        self.builder().await.open().await.unwrap()
    }

    /// A worker that runs this script.
    pub(crate) fn script(&self, id: &str, script: &str) -> WorkerConfigBuilder {
        let mark = format!("{}/{id}", self.installation);
        let builder = WorkerConfig::builder(id).command(["sh", "-c", script]).env("MANAGED", mark);
        match self.place {
            Place::Process => builder,
            Place::Docker => {
                let image =
                    std::env::var("HODEI_TEST_IMAGE").unwrap_or_else(|_| "hodei-test/busybox:1".into());
                builder.image(image.as_str())
            }
        }
    }

    /// A worker that runs until it is stopped.
    pub(crate) fn sleeper(&self, id: &str) -> WorkerConfigBuilder {
        self.script(id, &format!("trap 'exit 0' TERM; echo {READY}; sleep 1000 & wait $!"))
    }

    /// A worker like that which has said that it is ready to be stopped: one that has only just begun has no trap yet.
    pub(crate) async fn ready(&self, worker: &Worker) {
        let (provider, worker) = (self.provider().await, worker.reference());
        eventually(within(20), || async {
            let output = provider.collect_logs(&worker, &LogOptions::all()).await.unwrap();
            if output.starts_with(READY.as_bytes()) {
                Ok(())
            } else {
                Err("it has not said that it is ready")
            }
        })
        .await
        .unwrap();
    }

    /// Kills what a worker runs, from outside, as a fault would.
    pub(crate) async fn kill(&self, worker: &Worker) {
        match self.place {
            Place::Process => {
                let provider = self.provider().await;
                let status = provider.get_worker_status(&worker.reference()).await.unwrap();
                let run = status.run.clone().unwrap();
                // A process that has only just begun does not show its environment yet.
                let look = || async {
                    let marked = processes(&self.installation, &worker.id);
                    if marked.is_empty() {
                        Err(format!("no process of {} ({run})", worker.id))
                    } else {
                        Ok(marked)
                    }
                };
                let marked = eventually(within(5), look).await.unwrap();
                for pid in marked {
                    let pid = rustix::process::Pid::from_raw(pid).unwrap();
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            Place::Docker => {
                let provider = self.provider().await;
                let options = hodei_worker::provider::ExecOptions::new(["kill", "-9", "1"]);
                // Nothing can kill an init from inside its namespace: its engine has to.
                drop(options);
                provider
                    .stop_worker(&worker.reference(), &hodei_worker::provider::StopOptions::kill())
                    .await
                    .unwrap();
            }
        }
    }

    pub(crate) async fn clean(&self) {
        let provider = self.provider().await;
        for status in provider.list_workers(&WorkerFilter::all()).await.unwrap().workers {
            provider.delete_worker(&status.worker, &DeleteOptions::default()).await.unwrap();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The processes of a worker: those whose environment has its name.
fn processes(installation: &InstallationId, id: &WorkerId) -> Vec<i32> {
    let mark = format!("MANAGED={installation}/{id}");
    let carries = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(carries).collect()
}

/// What a panic said.
pub(crate) fn words(panic: tokio::task::JoinError) -> String {
    let Ok(panic) = panic.try_into_panic() else { return "it was cancelled".into() };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "it panicked".into())
}

pub(crate) fn within(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
