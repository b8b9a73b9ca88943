use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Escalation, Goal, RecoverySettings, Strategy, recovery};
use crate::{
    clock::Timestamp,
    error::ErrorReport,
    model::{Generation, GroupRef, ProviderName, RestartPolicy, RunId, WorkerConfig},
    provider::Operation,
    quantity::{ByteSize, HumanDuration},
    status::{ExitStatus, FailureClass},
};

/// What an event says besides the states: all that the fold of a worker is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It shall be created, in this generation and on this provider.
    CreateIntended {
        /// The provider.
        provider: ProviderName,
        /// Which creation.
        generation: Generation,
        /// What is wanted of it.
        goal: Goal,
        /// What decisions about it depend on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traits: Option<Box<Traits>>,
    },
    /// The provider has created it.
    Created,
    /// It shall be started.
    StartIntended {
        /// The run that the start follows; `None` for the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<RunId>,
    },
    /// A run has begun.
    Started {
        /// The run.
        run: RunId,
        /// When.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// A run has ended.
    Ended(Box<RunEnd>),
    /// It will be brought back.
    RecoveryPlanned {
        /// How.
        strategy: Strategy,
        /// Which try in a row.
        attempt: u32,
        /// When.
        due: Timestamp,
        /// Of what.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<FailureClass>,
    },
    /// A person is called. Nothing more is tried by itself, unless it is to be stopped or removed.
    Escalated {
        /// Why.
        why: Escalation,
        /// Of what.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<FailureClass>,
        /// What was seen, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Its user wants something else of it.
    GoalChanged {
        /// What.
        goal: Goal,
        /// Whether its named volumes stay when it is removed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep_volumes: bool,
    },
    /// It gets no more jobs, and is stopped when it has none, or at that time.
    Draining {
        /// The latest time.
        until: Timestamp,
    },
    /// It shall be stopped.
    StopIntended {
        /// Time between the request and the kill; `None`: its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<Duration>,
    },
    /// What there is of it at its provider shall be removed.
    DeleteIntended {
        /// Whether it is created again afterwards.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        replace: bool,
        /// Whether its named volumes stay.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep_volumes: bool,
    },
    /// It is no more.
    Terminated,
    /// It is well.
    Healthy,
    /// It is not well.
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
    /// It ran long enough to count as recovered.
    Recovered,
    /// It must have been in the state that follows, which nobody saw.
    Passed,
    /// A call of its provider failed, and is made again.
    CallFailed {
        /// Which.
        operation: Operation,
        /// Why.
        error: Box<ErrorReport>,
        /// When it is made again.
        retry_at: Timestamp,
    },
    /// Another host answers for it from now on.
    TakenOver {
        /// The new owner's lease.
        lease: u64,
        /// How often it has changed its owner.
        owner_epoch: u64,
    },
    /// A change that a newer version knows. Its states count; what else it says is not understood.
    #[serde(other)]
    Unknown,
}

/// How a run ended, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RunEnd {
    /// The run; `None` where it could not begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// How it ended; `None` where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureClass>,
    /// In the provider's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The provider has nothing of it any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

impl RunEnd {
    /// Whether it ended well.
    pub fn is_success(&self) -> bool {
        self.failure.is_none() && self.exit.is_some_and(ExitStatus::is_success)
    }
}

/// What decisions about a worker depend on, taken from its configuration when it is created.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Traits {
    /// Its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_type: Option<GroupRef>,
    /// Who is shed first: the lowest.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// How it is brought back, where it says so itself.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "recovery::kept")]
    pub recovery: Option<Box<RecoverySettings>>,
    /// Whether its health is checked: it runs only once it was found well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub checked: bool,
    /// Whether it reports for itself whether it is busy.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reports: bool,
    /// Time between the request to stop and the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace: Option<HumanDuration>,
    /// Its memory limit; larger than the configuration's after it was resized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<ByteSize>,
    /// The fingerprint of its configuration.
    pub config: String,
}

impl Traits {
    /// What a configuration says.
    pub fn of(config: &WorkerConfig) -> Self {
        Self {
            worker_type: config.metadata.worker_type.clone(),
            priority: config.metadata.priority,
            restart: config.restart_policy(),
            recovery: config.recovery.clone().map(Box::new),
            checked: !config.health_checks.is_empty(),
            reports: config.reports,
            stop_grace: config.stop_grace,
            memory_limit: config.resources.memory_limit,
            config: config.fingerprint(),
        }
    }
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// What degrades a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DegradedBy {
    /// Its checks succeed, and take too long.
    Latency,
    /// It goes back and forth between well and not well.
    Flapping,
    /// Its command is frozen.
    Paused,
    /// Its node does not answer: nobody can say whether it runs.
    Unreachable,
    /// Something else, or a cause that a newer version knows.
    #[serde(other)]
    Other,
}

/// An intent whose outcome is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pending {
    /// To create it.
    Create,
    /// To start it.
    Start {
        /// After this run.
        after: Option<RunId>,
    },
    /// To stop it when it has no more jobs, or at that time.
    Drain {
        /// The latest time.
        until: Timestamp,
    },
    /// To stop it.
    Stop {
        /// Time between the request and the kill.
        grace: Option<Duration>,
    },
    /// To remove what its provider has of it.
    Delete {
        /// Whether it is created again afterwards.
        replace: bool,
        /// Whether its named volumes stay.
        keep_volumes: bool,
    },
}

/// What kind of event it is: the contract's types, and ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventType {
    /// It shall be created.
    CreateIntended,
    /// The provider has created it.
    Created,
    /// It shall be started.
    StartIntended,
    /// A run has begun.
    Started,
    /// It is well.
    Healthy,
    /// It is not well.
    Unhealthy,
    /// It runs less well than it should.
    Degraded,
    /// It is as well as it should be again, or ran long enough after a failure.
    Recovered,
    /// It will be brought back.
    RecoveryPlanned,
    /// It gets no more jobs.
    Draining,
    /// It shall be stopped.
    StopIntended,
    /// It does not run any more, as was wanted or because its command ended.
    Stopped,
    /// It failed.
    Failed,
    /// A person is called.
    Escalated,
    /// Its user wants something else of it.
    GoalChanged,
    /// What there is of it shall be removed.
    DeleteIntended,
    /// It is no more.
    Terminated,
    /// A call of its provider failed and is made again.
    CallFailed,
    /// Another host answers for it.
    TakenOver,
    /// A type that a newer version knows.
    #[serde(other)]
    Unknown,
}

impl Change {
    /// What kind of event it makes.
    pub fn event_type(&self) -> EventType {
        match self {
            Self::CreateIntended { .. } => EventType::CreateIntended,
            Self::Created => EventType::Created,
            Self::StartIntended { .. } => EventType::StartIntended,
            Self::Started { .. } => EventType::Started,
            Self::Ended(end) if end.failure.is_some() => EventType::Failed,
            Self::Ended(_) => EventType::Stopped,
            Self::RecoveryPlanned { .. } => EventType::RecoveryPlanned,
            Self::Escalated { .. } => EventType::Escalated,
            Self::GoalChanged { .. } => EventType::GoalChanged,
            Self::Draining { .. } => EventType::Draining,
            Self::StopIntended { .. } => EventType::StopIntended,
            Self::DeleteIntended { .. } => EventType::DeleteIntended,
            Self::Terminated => EventType::Terminated,
            Self::Healthy => EventType::Healthy,
            Self::Unhealthy { .. } => EventType::Unhealthy,
            Self::Degraded { .. } => EventType::Degraded,
            Self::Restored { .. } | Self::Recovered => EventType::Recovered,
            Self::CallFailed { .. } => EventType::CallFailed,
            Self::TakenOver { .. } => EventType::TakenOver,
            // What the state tells: see `WorkerStateEvent::event_type`.
            Self::Passed | Self::Unknown => EventType::Unknown,
        }
    }
}

impl EventType {
    /// Its name in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreateIntended => "create_intended",
            Self::Created => "created",
            Self::StartIntended => "start_intended",
            Self::Started => "started",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Degraded => "degraded",
            Self::Recovered => "recovered",
            Self::RecoveryPlanned => "recovery_planned",
            Self::Draining => "draining",
            Self::StopIntended => "stop_intended",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Escalated => "escalated",
            Self::GoalChanged => "goal_changed",
            Self::DeleteIntended => "delete_intended",
            Self::Terminated => "terminated",
            Self::CallFailed => "call_failed",
            Self::TakenOver => "taken_over",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
