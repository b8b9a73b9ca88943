use std::{collections::BTreeMap, sync::Arc};

use hodei_worker_core::{
    Result, WorkerConfig, WorkerId, WorkerObservation,
    capability::ProviderCapabilities,
    lifecycle::{Command, CorrelationId, Worker},
    model::ProviderName,
    store::{LeaseId, StoredEvent, TakenOver},
};
use tokio::sync::oneshot;

use super::{Found, WorkerQuery, hosts::Hold, requests::Request};

pub(super) type Reply<T> = oneshot::Sender<T>;

/// What the keeper is told and asked.
pub(super) enum Message {
    /// A user's command.
    Command(Box<Ordered>),
    /// What is known of a worker.
    Get(WorkerId, Reply<Result<Option<Worker>>>),
    /// Whether this host may give a worker jobs.
    TakesJobs(WorkerId, Reply<Result<()>>),
    /// What is known of some.
    List(WorkerQuery, Reply<Vec<Worker>>),
    /// Objects that no worker stands behind.
    Found(Reply<Vec<Found>>),
    /// To be told when something holds.
    Wait(WorkerId, Until, Reply<Result<Worker>>),
    /// A provider's word.
    Observed(ProviderName, WorkerObservation),
    /// What a provider can do, as it has just said.
    Capabilities(ProviderName, Arc<ProviderCapabilities>),
    /// What was stored, by whichever host.
    Stored(Vec<StoredEvent>),
    /// This host's lease holds, or holds again.
    Leased(Hold),
    /// It does not any more.
    LeaseLost,
    /// Workers whose host is gone are this one's, while it has that lease.
    TookOver(LeaseId, Vec<TakenOver>),
    /// What other hosts ask.
    Requested(Vec<Request>),
    /// Write down all folds, and remove what they cover.
    Compact(Reply<Result<hodei_worker_core::store::Compaction>>),
    /// No more commands.
    Close(Reply<()>),
    /// Whether what all providers told is whole.
    Synced(Reply<()>),
    /// Whether all is quiet: no call under way and none to be made.
    Quiet(Reply<()>),
}

impl Message {
    /// Whether something may have to be written down for it.
    pub(super) fn is_work(&self) -> bool {
        matches!(
            self,
            Self::Command(_)
                | Self::Observed(..)
                | Self::Capabilities(..)
                | Self::Stored(_)
                | Self::TookOver(..)
        )
    }
}

/// A command, with what belongs to it.
pub(super) struct Ordered {
    pub(super) id: WorkerId,
    pub(super) command: Command,
    pub(super) config: Option<WorkerConfig>,
    pub(super) correlation: CorrelationId,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) reply: Reply<Result<Worker>>,
}

/// What is waited for.
pub(super) type Until = Box<dyn Fn(&Worker) -> bool + Send>;
