use std::{sync::Arc, time::Duration};

use super::{DegradedBy, Goal, Traits};
use crate::{
    error::ErrorReport,
    model::{Generation, ProviderName, RunId},
    provider::Operation,
    status::{Gone, WorkerStatus},
};

/// What happened to a worker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Input {
    /// Its user wants something.
    Command(Command),
    /// Its provider told of it.
    Observed(Arc<WorkerStatus>),
    /// Its provider told that it is gone, or does not list it.
    Gone(Gone),
    /// A call that was made for it is over.
    Outcome(Outcome),
    /// What its health checks found.
    Health(HealthChange),
    /// It has no more jobs.
    Idle,
    /// The time that [`Worker::due`](super::Worker::due) named has come.
    Due,
    /// This host answers for it from now on.
    TakenOver {
        /// The host's lease.
        lease: u64,
        /// How often it has changed its owner.
        owner_epoch: u64,
    },
}

/// What a user wants of a worker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Command {
    /// Create it.
    Create {
        /// On this provider.
        provider: ProviderName,
        /// As this creation.
        generation: Generation,
        /// Running, or only created.
        goal: Goal,
        /// What its configuration says.
        traits: Box<Traits>,
    },
    /// Run it.
    Start,
    /// Stop it, when its jobs are over or the grace has passed.
    Stop {
        /// Time that it has; `None`: its own.
        grace: Option<Duration>,
        /// How many jobs it has.
        jobs: usize,
    },
    /// Stop it and remove what was created for it.
    Remove {
        /// Time that it has to stop; `None`: its own; zero: killed.
        grace: Option<Duration>,
        /// How many jobs it has.
        jobs: usize,
        /// Whether its named volumes stay.
        keep_volumes: bool,
    },
}

/// What the checks of a worker's health found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthChange {
    /// It is well.
    Healthy,
    /// It is not well, for longer than it may be.
    Unhealthy {
        /// Why, in words.
        reason: String,
    },
    /// It runs less well than it should.
    Degraded {
        /// By what.
        by: DegradedBy,
        /// Why, in words.
        reason: String,
    },
    /// What degraded it is over.
    Restored {
        /// What.
        by: DegradedBy,
    },
}

/// A call of a provider that follows from a decision. There is an intent in the log for each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// Create it in this generation.
    Create,
    /// Start it.
    Start {
        /// After this run.
        after: Option<RunId>,
    },
    /// Stop it.
    Stop {
        /// Time between the request and the kill.
        grace: Option<Duration>,
    },
    /// Remove it in this generation.
    Delete {
        /// Whether its named volumes stay.
        keep_volumes: bool,
    },
    /// Read its status; the only call that needs no intent.
    Observe,
}

impl Call {
    /// The port's operation.
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Create => Operation::Create,
            Self::Start { .. } => Operation::Start,
            Self::Stop { .. } => Operation::Stop,
            Self::Delete { .. } => Operation::Delete,
            Self::Observe => Operation::Status,
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// The generation that it was about.
    pub generation: Generation,
    /// Which call, and what came of it.
    pub of: OutcomeOf,
    /// What the provider had of it afterwards, where it was read.
    pub status: Option<Arc<WorkerStatus>>,
}

/// Which call ended how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OutcomeOf {
    /// It did what it should.
    Done(Operation),
    /// It failed.
    Failed(Operation, Box<ErrorReport>),
}

impl Outcome {
    /// The call did what it should.
    pub fn done(generation: Generation, operation: Operation, status: Option<Arc<WorkerStatus>>) -> Self {
        Self { generation, of: OutcomeOf::Done(operation), status }
    }
    /// The call failed.
    pub fn failed(generation: Generation, operation: Operation, error: ErrorReport) -> Self {
        Self { generation, of: OutcomeOf::Failed(operation, Box::new(error)), status: None }
    }
}
