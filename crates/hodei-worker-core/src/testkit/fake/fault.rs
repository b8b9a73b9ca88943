use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::{error::Error, provider::Operation};

/// What a call on the fake does instead of, or besides, its work.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// Fails, and does nothing.
    Fail(Error),
    /// Does its work, and fails then: the answer is lost.
    LoseAnswer(Error),
    /// Takes this much longer.
    Delay(Duration),
    /// Never answers.
    Hang,
}

/// Faults to come, and the calls so far.
#[derive(Debug, Default)]
pub(super) struct Script {
    faults: HashMap<Operation, VecDeque<Fault>>,
    calls: HashMap<Operation, usize>,
}

impl Script {
    pub(super) fn push(&mut self, operation: Operation, fault: Fault) {
        self.faults.entry(operation).or_default().push_back(fault);
    }
    pub(super) fn begin(&mut self, operation: Operation) -> Option<Fault> {
        *self.calls.entry(operation).or_default() += 1;
        self.faults.get_mut(&operation)?.pop_front()
    }
    pub(super) fn calls(&self, operation: Operation) -> usize {
        self.calls.get(&operation).copied().unwrap_or_default()
    }
}
