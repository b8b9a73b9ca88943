use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Where a worker is in its life, as its manager sees it. None of these is terminal: only removal ends a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It is being created, or has been and was not asked to start.
    Creating,
    /// It is being started, or runs and is not yet found well.
    Starting,
    /// It runs.
    Running,
    /// It runs, and not as well as it should.
    Degraded,
    /// It failed, and is being brought back.
    Recovering,
    /// It is being stopped or removed.
    Stopping,
    /// It does not run: its command ended, or it was stopped.
    Stopped,
    /// It failed, and nothing more is tried by itself.
    Failed,
}

use WorkerState::{Creating, Degraded, Failed, Recovering, Running, Starting, Stopped, Stopping};

impl WorkerState {
    /// All of them.
    pub const ALL: [Self; 8] = [Creating, Starting, Running, Degraded, Recovering, Stopping, Stopped, Failed];

    /// Its name in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Creating => "creating",
            Starting => "starting",
            Running => "running",
            Degraded => "degraded",
            Recovering => "recovering",
            Stopping => "stopping",
            Stopped => "stopped",
            Failed => "failed",
        }
    }

    /// Whether it may take work.
    pub const fn takes_work(self) -> bool {
        matches!(self, Running | Degraded)
    }

    /// Whether this state may be followed by that one.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Stopping, Stopping) | (Failed, Failed) => false,
            (_, Stopping | Failed)
            | (Creating | Recovering | Stopped | Failed, Starting)
            | (Starting | Degraded | Recovering, Running)
            | (Starting | Running | Recovering, Degraded)
            | (Starting | Running | Degraded | Failed, Recovering)
            | (Starting | Running | Degraded | Recovering | Stopping, Stopped) => true,
            _ => false,
        }
    }

    /// The shortest way to that state, without this one and with that; empty where it is this one. Every state can be
    /// reached from every other save `Creating`, which is where a worker begins.
    pub fn path_to(self, goal: Self) -> Option<Vec<Self>> {
        let mut ways = vec![vec![]];
        let mut seen = vec![self];
        if self == goal {
            return ways.pop();
        }
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                let from = way.last().copied().unwrap_or(self);
                for next in Self::ALL {
                    if !from.may_become(next) || seen.contains(&next) {
                        continue;
                    }
                    seen.push(next);
                    let mut way = way.clone();
                    way.push(next);
                    if next == goal {
                        return Some(way);
                    }
                    longer.push(way);
                }
            }
            ways = longer;
        }
        None
    }

    /// That state, if it may follow.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`], naming both states.
    pub fn become_state(self, next: Self) -> Result<Self> {
        if self.may_become(next) {
            return Ok(next);
        }
        Err(Error::new(ErrorKind::Conflict, format!("a worker that is {self} cannot become {next}")))
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What its user wants of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// That it runs, or has run to its end.
    Running,
    /// That it does not run.
    Stopped,
    /// That it is no more.
    Removed,
}
