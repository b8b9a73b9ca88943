//! Local processes as a subject of the behaviour suite.

#[path = "../memory/mod.rs"]
pub(crate) mod memory;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use hodei_worker_core::{
    ConnectContext, Error, ErrorKind, ProviderSettings as _, Result, WorkerProvider, WorkerRef,
    model::InstallationId,
    testkit::{Planted, Subject},
};
use hodei_worker_process::{ProcessSettings, Survival};

pub(crate) struct Processes {
    pub(crate) name: &'static str,
    pub(crate) survival: Survival,
    pub(crate) base: PathBuf,
}

impl Processes {
    fn state(&self) -> PathBuf {
        self.base.join("state")
    }
    fn logs(&self) -> PathBuf {
        self.base.join("logs")
    }
}

#[async_trait]
impl Subject for Processes {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    async fn connect(&self, context: ConnectContext) -> Result<Arc<dyn WorkerProvider>> {
        let mut settings = ProcessSettings::default();
        (settings.state_dir, settings.log_dir) = (Some(self.state()), Some(self.logs()));
        settings.survival = self.survival;
        // By it the sweep after a run that was cut off knows the workers.
        settings.inherit.push("HODEI_TEST_RUN".into());
        Ok(Arc::new(settings.connect(context).await?))
    }

    fn secret_path(&self, name: &str) -> (String, String) {
        (name.to_owned(), format!("$HODEI_SECRETS_DIR/{name}"))
    }

    async fn plant_unowned(
        &self,
        installation: &InstallationId,
        worker: &WorkerRef,
    ) -> Result<Option<Box<dyn Planted>>> {
        let name = format!("{}.{}", worker.id, worker.generation);
        let folder = self.state().join(installation.as_str()).join("workers").join(name);
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join("note"), "mine"))
            .map_err(unexpected)?;
        Ok(Some(Box::new(Folder(folder))))
    }

    async fn leftovers(&self, installation: &InstallationId) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for folder in [self.state(), self.logs()] {
            files(&folder.join(installation.as_str()), &mut left);
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").map_err(unexpected)?;
        let points = mounts.lines().filter(|line| line.contains(" - cgroup"));
        for point in points.filter_map(|line| line.split(' ').nth(4)) {
            let base = Path::new(point).join("hodei-worker").join(installation.as_str());
            let groups = std::fs::read_dir(base).into_iter().flatten().flatten();
            let groups = groups.filter(|group| group.path().is_dir() && group.file_name() != "supervisors");
            left.extend(groups.map(|group| format!("group {}", group.path().display())));
        }
        let mark = format!("={installation}/");
        let entries = std::fs::read_dir("/proc").map_err(unexpected)?.flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()) {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let text = String::from_utf8_lossy(&environment);
            if text
                .split('\0')
                .any(|variable| variable.starts_with("HODEI_WORKER_RUN") && variable.contains(&mark))
            {
                left.push(format!("process {}", entry.file_name().to_string_lossy()));
            }
        }
        Ok(left)
    }
}

/// Files below a folder that stay with a worker; an installation's own few do not count.
fn files(folder: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => files(&path, all),
            false if path.ends_with("id") || path.ends_with("state") => {}
            false => all.push(path.display().to_string()),
        }
    }
}

fn unexpected(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "the test cannot look past the provider").with_source(error)
}

struct Folder(PathBuf);

#[async_trait]
impl Planted for Folder {
    async fn is_untouched(&self) -> Result<bool> {
        Ok(std::fs::read_to_string(self.0.join("note")).is_ok_and(|text| text == "mine"))
    }
    async fn remove(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.0).map_err(unexpected)
    }
}

/// A folder for the run, and its removal at the end.
pub(crate) fn in_a_folder(run: impl FnOnce(&Path) -> std::process::ExitCode) -> std::process::ExitCode {
    let base = memory::folder().join(format!("hodei-conformance-{}", std::process::id()));
    let code = run(&base);
    let _ = std::fs::remove_dir_all(&base);
    code
}
