//! Going back and forth: many changes in a short time, until it was calm for long enough.

use std::{collections::VecDeque, time::Duration};

use hodei_worker_core::model::FlappingConfig;

#[derive(Debug)]
pub(super) struct Flapping {
    config: FlappingConfig,
    last: Option<bool>,
    /// When it changed: the newest `config.changes` times within the window.
    changes: VecDeque<Duration>,
    is: bool,
}

impl Flapping {
    pub(super) fn new(config: FlappingConfig) -> Self {
        Self { config, last: None, changes: VecDeque::new(), is: false }
    }

    /// It was found well or not, at that time.
    pub(super) fn observe(&mut self, at: Duration, well: bool) {
        if self.config.changes == 0 {
            return;
        }
        self.settle(at);
        if self.last.replace(well).is_none_or(|last| last == well) {
            return;
        }
        self.changes.push_back(at);
        while self.changes.len() > self.config.changes as usize
            || self.changes.front().is_some_and(|first| at.saturating_sub(*first) > self.config.within.get())
        {
            self.changes.pop_front();
        }
        self.is |= self.changes.len() >= self.config.changes as usize;
    }

    /// Time has passed.
    pub(super) fn settle(&mut self, at: Duration) {
        if self.calm_at().is_some_and(|calm| calm <= at) {
            self.is = false;
            self.changes.clear();
        }
    }

    /// When it will be over, if nothing changes.
    pub(super) fn calm_at(&self) -> Option<Duration> {
        let last = self.changes.back().filter(|_| self.is)?;
        Some(last.saturating_add(self.config.calm.get()))
    }

    pub(super) const fn is(&self) -> bool {
        self.is
    }

    /// How often it changed lately.
    pub(super) fn changes(&self) -> usize {
        self.changes.len()
    }
}
