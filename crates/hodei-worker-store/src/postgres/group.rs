//! Which batches are written in one transaction.

use std::collections::HashSet;

use hodei_worker_core::store::Batch;

/// Nothing is gained by larger ones, and one failure concerns all of a group.
const MOST_BATCHES: usize = 512;
const MOST_BYTES: usize = 4 << 20;

/// What a group touches already: its batches are judged side by side, so none may depend on another.
#[derive(Debug, Default)]
pub(super) struct Group {
    names: HashSet<(bool, String)>,
    batches: usize,
    bytes: usize,
}

impl Group {
    /// Takes a batch in, unless it has to come after one of them or there are enough.
    pub(super) fn admit(&mut self, batch: &Batch) -> bool {
        let streams = batch.streams.iter().map(|stream| (true, stream.worker.as_str()));
        let snapshots = batch.snapshots.iter().map(|snapshot| (true, snapshot.worker().as_str()));
        let keys = batch.state.iter().map(|write| (false, write.key.as_str()));
        let names: HashSet<_> =
            streams.chain(snapshots).chain(keys).map(|(worker, name)| (worker, name.to_owned())).collect();
        let bytes = size(batch);
        let full = self.batches >= MOST_BATCHES || self.bytes + bytes > MOST_BYTES;
        if self.batches > 0 && (full || !self.names.is_disjoint(&names)) {
            return false;
        }
        self.names.extend(names);
        self.batches += 1;
        self.bytes += bytes;
        true
    }
}

fn size(batch: &Batch) -> usize {
    let events = batch.streams.iter().flat_map(|stream| &stream.events).map(|event| event.len() + 100);
    let values = batch.state.iter().map(|write| write.value.as_ref().map_or(0, bytes::Bytes::len) + 500);
    let snapshots = batch.snapshots.iter().map(|snapshot| match snapshot {
        hodei_worker_core::store::SnapshotWrite::Save { state, .. } => state.len() + 100,
        _ => 100,
    });
    events.chain(values).chain(snapshots).sum()
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::store::Expected;

    use super::*;

    fn append(worker: &str) -> Batch {
        Batch::new().append(worker.parse().unwrap(), 0, ["x".into()])
    }

    #[test]
    fn l6_what_depends_on_another_batch_waits_for_it() {
        let mut group = Group::default();
        assert!(group.admit(&append("a")));
        assert!(group.admit(&append("b").put("a", Expected::Any, "x")));
        assert!(!group.admit(&append("a")));
        assert!(!group.admit(&Batch::new().save("b".parse().unwrap(), 1, "x")));
        assert!(!group.admit(&Batch::new().remove("a", Expected::Any)));
        assert!(group.admit(&Batch::new().put("b", Expected::Any, "x")));
    }

    #[test]
    fn l6_a_group_has_a_size() {
        let mut group = Group::default();
        let large = |key: &str| Batch::new().put(key, Expected::Any, vec![0; MOST_BYTES]);
        assert!(group.admit(&large("a")), "one alone is always written");
        assert!(!group.admit(&large("b")));
    }
}
