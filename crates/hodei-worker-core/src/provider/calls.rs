use std::{fmt, sync::Arc, time::Duration};

use crate::{
    clock::Timestamp,
    model::{
        Generation, GroupRef, IntentMark, LabelSelector, Labels, RunId, ScalingConfiguration, WorkerConfig,
        WorkerId,
    },
    status::WorkerStatus,
};

/// How a worker is created.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CreateOptions {
    /// Which creation of this worker it is. Default: the first.
    pub generation: Generation,
    /// Where the intent is recorded; goes into the worker's ownership mark.
    pub intent: Option<IntentMark>,
    /// Told how far a pull and the creation have come.
    pub progress: Option<ProgressSink>,
}

impl CreateOptions {
    /// The creation of that generation.
    pub fn generation(generation: Generation) -> Self {
        Self { generation, ..Self::default() }
    }
    /// Records where the intent stands.
    #[must_use]
    pub fn with_intent(mut self, intent: IntentMark) -> Self {
        self.intent = Some(intent);
        self
    }
    /// Has progress reported.
    #[must_use]
    pub fn with_progress(mut self, report: impl Fn(CreateProgress) + Send + Sync + 'static) -> Self {
        self.progress = Some(ProgressSink::new(report));
        self
    }
    /// Reports progress, if somebody wants to know.
    pub fn report(&self, progress: CreateProgress) {
        if let Some(sink) = &self.progress {
            (sink.0)(progress);
        }
    }
}

/// Where progress is reported to. It is called on the way and must not block.
#[derive(Clone)]
pub struct ProgressSink(Arc<dyn Fn(CreateProgress) + Send + Sync>);

impl ProgressSink {
    /// Reports to this function.
    pub fn new(report: impl Fn(CreateProgress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }
}

impl fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressSink")
    }
}

/// How far a creation has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateProgress {
    /// The image is not here and is being fetched.
    Pulling {
        /// The image.
        image: String,
    },
    /// One layer of the image.
    Layer {
        /// The layer's id, as the registry calls it.
        id: String,
        /// What is being done with it, in the platform's words.
        status: String,
        /// Bytes done.
        current: Option<u64>,
        /// Bytes in all.
        total: Option<u64>,
    },
    /// The image is here.
    Pulled {
        /// The image.
        image: String,
    },
}

/// How a worker is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartOptions {
    /// The run that this start follows, as the status gave it; `None` for the first. If the worker's last run is
    /// another one, it has been started already, and nothing happens.
    pub after: Option<RunId>,
}

impl StartOptions {
    /// The start that follows this run.
    pub fn after(run: Option<RunId>) -> Self {
        Self { after: run }
    }
}

/// How a worker is stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopOptions {
    /// Time between the request to stop and the kill. `None`: the worker's own `stop_grace`, or else the
    /// provider's default. Zero: killed at once.
    pub grace: Option<Duration>,
}

impl StopOptions {
    /// Asks it to stop and kills it after this time.
    pub fn within(grace: Duration) -> Self {
        Self { grace: Some(grace) }
    }
    /// Kills it at once.
    pub fn kill() -> Self {
        Self { grace: Some(Duration::ZERO) }
    }
    /// Whether it is killed at once.
    pub fn is_kill(&self) -> bool {
        self.grace == Some(Duration::ZERO)
    }
}

/// How a worker is deleted. A running one is killed first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Keeps named volumes that were created for it. Anonymous ones always go. Default: false.
    pub keep_volumes: bool,
}

impl DeleteOptions {
    /// Keeps the named volumes.
    pub fn keeping_volumes() -> Self {
        Self { keep_volumes: true }
    }
}

/// Which workers are meant. Always within the provider's installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerFilter {
    /// Only this worker, in all its generations.
    pub id: Option<WorkerId>,
    /// Only this group's.
    pub worker_type: Option<GroupRef>,
    /// Only those with these labels.
    pub labels: LabelSelector,
}

impl WorkerFilter {
    /// Every worker of the installation.
    pub fn all() -> Self {
        Self::default()
    }
    /// One worker, in all its generations.
    pub fn id(id: WorkerId) -> Self {
        Self { id: Some(id), ..Self::default() }
    }
    /// A group's workers.
    pub fn worker_type(group: GroupRef) -> Self {
        Self { worker_type: Some(group), ..Self::default() }
    }
    /// Narrows to workers with this label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels = self.labels.and(name, value);
        self
    }
    /// Whether a worker is meant.
    pub fn matches(&self, id: &WorkerId, worker_type: Option<&GroupRef>, labels: &Labels) -> bool {
        self.id.as_ref().is_none_or(|wanted| wanted == id)
            && self.worker_type.as_ref().is_none_or(|wanted| Some(wanted) == worker_type)
            && self.labels.matches(labels)
    }
    /// Whether the worker of this status is meant.
    pub fn matches_status(&self, status: &WorkerStatus) -> bool {
        self.matches(&status.worker.id, status.worker_type.as_ref(), &status.labels)
    }
}

/// All workers that are meant: whole, or the call failed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Listing {
    /// The workers, by id and generation.
    pub workers: Vec<Arc<WorkerStatus>>,
    /// The time at which this was the case.
    pub as_of: Timestamp,
}

impl Listing {
    /// A whole listing; sorts it.
    pub fn new(mut workers: Vec<Arc<WorkerStatus>>, as_of: Timestamp) -> Self {
        workers.sort_by(|a, b| a.worker.cmp(&b.worker));
        Self { workers, as_of }
    }
}

/// How workers are watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchOptions {
    /// Which workers.
    pub filter: WorkerFilter,
}

impl WatchOptions {
    /// Watches these workers.
    pub fn filter(filter: WorkerFilter) -> Self {
        Self { filter }
    }
}

/// How a worker is measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatsOptions {}

/// How a native group is scaled.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ScaleOptions {
    /// The size that the caller believes it has. If it has another, the call is a `Conflict` and nothing happens.
    pub expected: Option<usize>,
    /// What its members are made of. Needed for a group that does not exist yet; its worker id is the members' prefix.
    pub template: Option<WorkerConfig>,
}

impl ScaleOptions {
    /// Only if the group has this size.
    pub fn expecting(size: usize) -> Self {
        Self { expected: Some(size), ..Self::default() }
    }
    /// Makes the group of this, if there is none.
    #[must_use]
    pub fn with_template(mut self, template: WorkerConfig) -> Self {
        self.template = Some(template);
        self
    }
}

/// How a group's scaling is handed to the platform.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct AutoscaleOptions {
    /// The policy. `None` takes the scaling back.
    pub scaling: Option<ScalingConfiguration>,
}

impl AutoscaleOptions {
    /// Hands over by this policy.
    pub fn by(scaling: ScalingConfiguration) -> Self {
        Self { scaling: Some(scaling) }
    }
}

/// A group, for symmetry with [`WorkerFilter`].
impl From<GroupRef> for WorkerFilter {
    fn from(group: GroupRef) -> Self {
        Self::worker_type(group)
    }
}
