use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
};

use super::super::{
    Appended, Batch, Compaction, Expected, Page, SnapshotWrite, StateEntry, StateValue, StateWrite,
    StoredEvent, WorkerSnapshot, refusal,
};
use crate::{error::Result, model::WorkerId};

/// Log, state and snapshots.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// What was not compacted away, without gaps.
    log: VecDeque<StoredEvent>,
    last: u64,
    heads: HashMap<WorkerId, Head>,
    /// Up to where the events of workers that were forgotten are over.
    over: HashMap<WorkerId, u64>,
    snapshots: BTreeMap<WorkerId, WorkerSnapshot>,
    state: BTreeMap<String, StateValue>,
}

#[derive(Debug, Default)]
struct Head {
    version: u64,
    /// The position of its first event.
    begin: u64,
    /// Of those of its events that were not compacted away.
    positions: VecDeque<u64>,
}

impl Head {
    fn first_version(&self) -> u64 {
        self.version + 1 - self.positions.len() as u64
    }
}

impl Content {
    fn first(&self) -> u64 {
        self.last + 1 - self.log.len() as u64
    }
    pub(super) fn version(&self, worker: &WorkerId) -> u64 {
        self.heads.get(worker).map_or(0, |head| head.version)
    }

    /// Where the worker's stream begins.
    pub(super) fn begin(&self, worker: &WorkerId) -> u64 {
        self.heads.get(worker).map_or(0, |head| head.begin)
    }

    /// Whether everything is as the batch expects it.
    pub(super) fn check(&self, batch: &Batch) -> Result<()> {
        for stream in &batch.streams {
            let found = self.version(&stream.worker);
            if found != stream.expected {
                return Err(refusal::version(&stream.worker, stream.expected, found));
            }
        }
        for StateWrite { key, expected, .. } in &batch.state {
            let found = self.state.get(key).map(|value| value.version);
            let holds = match expected {
                Expected::Any => true,
                Expected::Absent => found.is_none(),
                Expected::Version(version) => found == Some(*version),
            };
            if !holds {
                return Err(refusal::value(key, *expected, found));
            }
        }
        for snapshot in &batch.snapshots {
            let worker = snapshot.worker();
            let added = batch.streams.iter().find(|stream| stream.worker == *worker);
            let reached = self.version(worker) + added.map_or(0, |stream| stream.events.len() as u64);
            match snapshot {
                SnapshotWrite::Save { version, .. } => {
                    let kept = self.snapshots.get(worker).map_or(0, |kept| kept.version);
                    if *version > reached {
                        return Err(refusal::unreached(worker, *version, reached));
                    }
                    if *version < kept {
                        return Err(refusal::older(worker, *version, kept));
                    }
                }
                SnapshotWrite::Forget { version, .. } => {
                    if *version != reached {
                        return Err(refusal::version(worker, *version, reached));
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes a batch that was checked.
    pub(super) fn apply(&mut self, batch: &Batch) -> Appended {
        let mut appended = Appended::default();
        for stream in &batch.streams {
            appended.first.push(self.last + 1);
            let head = self.heads.entry(stream.worker.clone()).or_default();
            if head.version == 0 {
                head.begin = self.last + 1;
            }
            for event in &stream.events {
                self.last += 1;
                head.version += 1;
                head.positions.push_back(self.last);
                let event = StoredEvent::new(self.last, stream.worker.clone(), head.version, event.clone());
                self.log.push_back(event);
            }
            appended.last = self.last;
        }
        for StateWrite { key, value, .. } in &batch.state {
            match value {
                Some(value) => {
                    let version = self.state.get(key).map_or(0, |value| value.version) + 1;
                    self.state.insert(key.clone(), StateValue::new(version, value.clone()));
                }
                None => drop(self.state.remove(key)),
            }
        }
        for snapshot in &batch.snapshots {
            match snapshot {
                SnapshotWrite::Save { worker, version, state } => {
                    let position = self.position(worker, *version);
                    let snapshot = WorkerSnapshot::new(worker.clone(), *version, position, state.clone());
                    self.snapshots.insert(worker.clone(), snapshot);
                }
                SnapshotWrite::Forget { worker, .. } => {
                    self.snapshots.remove(worker);
                    let head = self.heads.remove(worker);
                    if let Some(last) = head.and_then(|head| head.positions.back().copied()) {
                        self.over.insert(worker.clone(), last);
                    }
                }
            }
        }
        appended
    }

    fn position(&self, worker: &WorkerId, version: u64) -> u64 {
        if let Some(kept) = self.snapshots.get(worker).filter(|kept| kept.version == version) {
            return kept.position;
        }
        let Some(head) = self.heads.get(worker) else { return 0 };
        let index = version.checked_sub(head.first_version());
        index.and_then(|index| head.positions.get(index as usize).copied()).unwrap_or(0)
    }

    pub(super) fn read(&self, after: u64, limit: usize) -> Page {
        let first = self.first();
        let skipped = (after + 1).saturating_sub(first) as usize;
        let events: Vec<_> = self.log.iter().skip(skipped).take(limit).cloned().collect();
        let next = events.last().map_or(after, |event| event.position);
        let is_last = next >= self.last || events.len() < limit;
        Page {
            compacted: after + 1 < first,
            is_last,
            next: if is_last { next.max(self.last) } else { next },
            events,
        }
    }

    pub(super) fn read_stream(&self, worker: &WorkerId, after: u64, limit: usize) -> Page {
        let Some(head) = self.heads.get(worker) else {
            return Page { is_last: true, next: after, ..Page::default() };
        };
        let first = head.first_version();
        let skipped = (after + 1).saturating_sub(first) as usize;
        let positions = head.positions.iter().skip(skipped).take(limit);
        let at = |position: &u64| self.log.get((position - self.first()) as usize).cloned();
        let events: Vec<_> = positions.filter_map(at).collect();
        let next = events.last().map_or(after, |event| event.version);
        let is_last = next >= head.version || events.len() < limit;
        Page {
            compacted: after + 1 < first,
            is_last,
            next: if is_last { next.max(head.version) } else { next },
            events,
        }
    }

    pub(super) fn snapshots(&self, after: Option<&WorkerId>, limit: usize) -> Vec<WorkerSnapshot> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.snapshots
            .range::<WorkerId, _>((from, Bound::Unbounded))
            .take(limit)
            .map(|(_, kept)| kept.clone())
            .collect()
    }

    pub(super) fn compact(&mut self, through: u64) -> Compaction {
        let mut removed = 0;
        while let Some(event) = self.log.front()
            && event.position <= through
            && self.is_covered(event)
        {
            if let Some(head) = self.heads.get_mut(&event.worker)
                && head.positions.front() == Some(&event.position)
            {
                head.positions.pop_front();
            }
            self.log.pop_front();
            removed += 1;
        }
        let first = self.first();
        self.over.retain(|_, last| *last >= first);
        Compaction::new(removed, first)
    }

    fn is_covered(&self, event: &StoredEvent) -> bool {
        let over = self.over.get(&event.worker).copied().unwrap_or(0);
        let kept = self.snapshots.get(&event.worker).map_or(0, |kept| kept.position);
        event.position <= over.max(kept)
    }

    pub(super) fn get(&self, key: &str) -> Option<StateValue> {
        self.state.get(key).cloned()
    }

    pub(super) fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<StateEntry> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let values = self.state.range::<str, _>((from, Bound::Unbounded));
        let values = values.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        values.map(|(key, value)| StateEntry::new(key, value.clone())).collect()
    }
}
