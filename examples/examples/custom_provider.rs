//! A provider of one's own, on a page: workers are tasks of this process that a host registers by name. Its `main` runs
//! the published behaviour suite against it. `cargo run --features testkit --example custom_provider`

use std::{collections::BTreeMap, future, process::ExitCode, sync::Arc, sync::Mutex, sync::PoisonError};

use async_trait::async_trait;
use hodei_worker::{
    Capability, Clock as _, ConnectContext, Error, ErrorKind, ProviderCapabilities, ProviderInfo, Result,
    SystemClock, Timestamp, WorkerConfig, WorkerHandle, WorkerPhase, WorkerProvider, WorkerRef, WorkerStatus,
    capability::needed_by,
    model::{InstallationId, Ownership, RunId},
    provider::{CreateOptions, DeleteOptions, Listing, StartOptions, StopOptions, WorkerFilter},
    status::{ExitStatus, FailureClass},
    testkit::{Program, Subject, run},
};
use tokio::{sync::watch, task::AbortHandle};

/// What a task's worker is: its configuration, and a status that changes.
struct Task {
    config: WorkerConfig,
    status: watch::Sender<WorkerStatus>,
    running: Option<AbortHandle>,
}

impl Task {
    fn status_as_of(&self, now: Timestamp) -> Arc<WorkerStatus> {
        let mut status = self.status.borrow().clone();
        status.as_of = now;
        Arc::new(status)
    }
}

type Tasks = Arc<Mutex<BTreeMap<(InstallationId, WorkerRef), Task>>>;

/// Workers as tasks of two kinds: `exit CODE` ends at once, `wait` waits.
struct TaskProvider {
    info: ProviderInfo,
    installation: InstallationId,
    tasks: Tasks,
}

impl std::fmt::Debug for TaskProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskProvider").field("installation", &self.installation).finish_non_exhaustive()
    }
}

impl TaskProvider {
    fn with<T>(&self, worker: &WorkerRef, look: impl FnOnce(&mut Task) -> Result<T>) -> Option<Result<T>> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.get_mut(&(self.installation.clone(), worker.clone())).map(look)
    }
}

fn end(status: &watch::Sender<WorkerStatus>, exit: ExitStatus, failure: Option<FailureClass>) {
    status.send_if_modified(|status| {
        let runs = status.phase == WorkerPhase::Running;
        if runs {
            (status.phase, status.exit, status.failure) = (WorkerPhase::Exited, Some(exit), failure);
            status.times.finished = Some(SystemClock.now());
        }
        runs
    });
}

#[async_trait]
impl WorkerProvider for TaskProvider {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        let has = [
            Capability::DeferredStart,
            Capability::KeepsStopped,
            Capability::RestartInPlace,
            Capability::ExactExit,
        ];
        Ok(Arc::new(Capability::ALL.iter().fold(ProviderCapabilities::new("1"), |all, one| {
            match has.contains(one) {
                true => all.with(*one),
                false => all.without(*one, "a task has nothing of the kind"),
            }
        })))
    }

    async fn create_worker(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        self.get_capabilities().await?.require(needed_by(config))?;
        let worker = WorkerRef { id: config.worker_id.clone(), generation: options.generation };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let task = tasks.entry((self.installation.clone(), worker.clone())).or_insert_with(|| {
            let now = SystemClock.now();
            let mut status = WorkerStatus::new(worker.clone(), WorkerPhase::Created, now);
            status.native_id = format!("{worker}@{}", now.as_nanosecond());
            status.labels.clone_from(&config.metadata.labels);
            status.worker_type.clone_from(&config.metadata.worker_type);
            let mut ownership = Ownership::new(self.installation.clone(), worker.clone());
            (ownership.intent, ownership.fingerprint) = (options.intent.clone(), Some(config.fingerprint()));
            status.ownership = Some(ownership);
            status.times.created = Some(now);
            Task { config: config.clone(), status: watch::Sender::new(status), running: None }
        });
        if task.config != *config {
            return Err(Error::new(ErrorKind::Conflict, "it exists with another configuration"));
        }
        let native_id = task.status.borrow().native_id.clone();
        Ok(WorkerHandle::new(self.info.name.clone(), worker, native_id))
    }

    async fn start_worker(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        let started = self.with(worker, |task| {
            if task.status.borrow().run != options.after {
                return Ok(()); // It has been started already.
            }
            let words: Vec<String> = task.config.command_line().map(str::to_owned).collect();
            let run = RunId::new(format!("{}", SystemClock.now().as_nanosecond()));
            task.status.send_modify(|status| {
                (status.phase, status.run) = (WorkerPhase::Running, Some(run));
                // Nothing of the last run stays.
                (status.exit, status.failure, status.times.finished) = (None, None, None);
                status.times.started = Some(SystemClock.now());
            });
            let code = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["exit", code] => code.parse().unwrap_or(1),
                ["wait"] => {
                    task.running = Some(tokio::spawn(future::pending::<()>()).abort_handle());
                    return Ok(());
                }
                _ => {
                    task.status.send_modify(|status| {
                        (status.phase, status.failure) =
                            (WorkerPhase::Exited, Some(FailureClass::CommandNotFound));
                    });
                    let command = words.first().cloned().unwrap_or_default();
                    return Err(Error::new(ErrorKind::Config, "there is no such task")
                        .with_context("command", command));
                }
            };
            end(&task.status, ExitStatus::Code(code), (code != 0).then_some(FailureClass::Application));
            Ok(())
        });
        started.unwrap_or_else(|| Err(Error::worker_not_found(worker)))
    }

    async fn stop_worker(&self, worker: &WorkerRef, _: &StopOptions) -> Result<()> {
        let stopped = self.with(worker, |task| {
            if let Some(running) = task.running.take() {
                running.abort(); // A task has no way to refuse.
                end(&task.status, ExitStatus::Signal(9), Some(FailureClass::Killed));
            }
            Ok(())
        });
        stopped.unwrap_or(Ok(()))
    }

    async fn delete_worker(&self, worker: &WorkerRef, _: &DeleteOptions) -> Result<()> {
        self.stop_worker(worker, &StopOptions::kill()).await?;
        let key = (self.installation.clone(), worker.clone());
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        Ok(())
    }

    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        let now = SystemClock.now();
        let found = self.with(worker, |task| Ok(task.status_as_of(now)));
        found.unwrap_or_else(|| Ok(WorkerStatus::absent(worker, now)))
    }

    async fn list_workers(&self, filter: &WorkerFilter) -> Result<Listing> {
        let now = SystemClock.now();
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = tasks.iter().filter(|((installation, _), _)| *installation == self.installation);
        let statuses = ours.map(|(_, task)| task.status_as_of(now));
        Ok(Listing::new(statuses.filter(|status| filter.matches_status(status)).collect(), now))
    }
}

/// The provider as the suite's subject: how to connect, and how its programs are called here.
struct TaskSubject(Tasks);

#[async_trait]
impl Subject for TaskSubject {
    fn name(&self) -> String {
        "task".to_owned()
    }
    async fn connect(&self, context: ConnectContext) -> Result<Arc<dyn WorkerProvider>> {
        let (info, installation) = (context.info("task"), context.installation);
        Ok(Arc::new(TaskProvider { info, installation, tasks: Arc::clone(&self.0) }))
    }
    fn command(&self, program: &Program) -> Vec<String> {
        match program {
            Program::Exit(code) => vec!["exit".to_owned(), code.to_string()],
            Program::Missing => program.shell(),
            _ => vec!["wait".to_owned()],
        }
    }
    async fn leftovers(&self, installation: &InstallationId) -> Result<Vec<String>> {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = tasks.keys().filter(|(owner, _)| owner == installation);
        Ok(left.map(|(_, worker)| worker.to_string()).collect())
    }
}

fn main() -> ExitCode {
    run([TaskSubject(Tasks::default())])
}
