use std::collections::BTreeMap;

use hodei_worker_core::WorkerId;

use super::DegradationSettings;

/// What a group of workers can do at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GroupCapacity {
    /// How many workers it has that are meant to run.
    pub workers: u64,
    /// Their weights, added up: 100 is one worker that is well.
    pub weight: u64,
    /// Jobs that they can do at once, where that is known.
    pub jobs: Option<u64>,
    /// Jobs that they have.
    pub busy: u64,
    /// Work of this priority and below is refused; `None`: nothing is.
    pub refused: Option<i32>,
}

impl GroupCapacity {
    /// What there is of its full capacity, in percent.
    pub fn percent(&self) -> u64 {
        self.weight.checked_div(self.workers).unwrap_or(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) weight: u8,
    /// Whether it can do work at all.
    pub(super) runs: bool,
    /// Whether it is meant to run: its absence is a loss.
    pub(super) wanted: bool,
}

/// Why work is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// With all that is at least as important it would be too much.
    Full,
    /// Too much of the group is not well.
    Weak,
}

/// The workers of one type.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: Vec<(WorkerId, Member)>,
    wanted: u64,
    weight: u64,
    /// Jobs by priority.
    jobs: BTreeMap<i32, u64>,
    refused: Option<i32>,
}

impl Group {
    pub(super) fn count_in(&mut self, member: Member) {
        self.wanted += u64::from(member.wanted);
        self.weight += u64::from(member.weight);
    }
    pub(super) fn count_out(&mut self, member: Member) {
        self.wanted -= u64::from(member.wanted);
        self.weight -= u64::from(member.weight);
    }
    pub(super) fn job_began(&mut self, priority: i32) {
        *self.jobs.entry(priority).or_default() += 1;
    }
    pub(super) fn job_ended(&mut self, priority: i32) {
        if let Some(count) = self.jobs.get_mut(&priority) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.jobs.remove(&priority);
            }
        }
    }

    pub(super) fn capacity(&self, settings: &DegradationSettings) -> GroupCapacity {
        GroupCapacity {
            workers: self.wanted,
            weight: self.weight,
            jobs: settings.jobs_per_worker.map(|jobs| self.weight * u64::from(jobs) / 100),
            busy: self.jobs.values().sum(),
            refused: self.refused,
        }
    }

    /// Whether more work of that priority is taken. What was refused before needs some room to spare.
    pub(super) fn admit(&mut self, priority: i32, settings: &DegradationSettings) -> Result<(), Refusal> {
        if priority >= settings.critical {
            return Ok(());
        }
        let was_refused = self.refused.is_some_and(|refused| priority <= refused);
        let margin = if was_refused { u64::from(settings.margin_percent) } else { 0 };
        let refusal = self.refusal(priority, margin, settings);
        match refusal {
            Some(_) => self.refused = Some(self.refused.unwrap_or(priority).max(priority)),
            // Whatever is as important is let in again; what is less has to ask for itself.
            None if was_refused => self.refused = priority.checked_sub(1),
            None => {}
        }
        refusal.map_or(Ok(()), Err)
    }

    fn refusal(&self, priority: i32, margin: u64, settings: &DegradationSettings) -> Option<Refusal> {
        let low = u64::from(settings.low_below_percent) + margin;
        if priority < 0 && self.wanted > 0 && self.weight < low * self.wanted {
            return Some(Refusal::Weak);
        }
        let jobs = u64::from(settings.jobs_per_worker?);
        let as_important: u64 = self.jobs.range(priority..).map(|(_, count)| count).sum();
        // One is always right: no margin makes a small group useless.
        if as_important == 0 && self.weight > 0 {
            return None;
        }
        let room = self.weight * jobs * (100 - margin.min(100));
        ((as_important + 1) * 10_000 > room).then_some(Refusal::Full)
    }
}
