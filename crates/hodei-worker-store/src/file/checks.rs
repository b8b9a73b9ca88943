//! Whether a batch is as the store has it.

use hodei_worker_core::{
    Result,
    model::WorkerId,
    store::{Batch, Expected, SnapshotWrite, StateWrite, refusal},
};

use super::group::Group;
use crate::engine::Engine;

pub(super) fn versions<E: Engine>(group: &Group<'_, E>, batch: &Batch) -> Result<()> {
    for stream in &batch.streams {
        let found = group.head(&stream.worker).map_or(0, |head| head.version);
        if found != stream.expected {
            return Err(refusal::version(&stream.worker, stream.expected, found));
        }
    }
    Ok(())
}

pub(super) fn snapshots<E: Engine>(group: &Group<'_, E>, batch: &Batch) -> Result<()> {
    let reached = |worker: &WorkerId| {
        let added = batch.streams.iter().find(|stream| stream.worker == *worker);
        let before = group.head(worker).map_or(0, |head| head.version);
        before + added.map_or(0, |stream| stream.events.len() as u64)
    };
    for snapshot in &batch.snapshots {
        let worker = snapshot.worker();
        let reached = reached(worker);
        match *snapshot {
            SnapshotWrite::Save { version, .. } => {
                if version > reached {
                    return Err(refusal::unreached(worker, version, reached));
                }
                if group.head(worker).is_some_and(|head| head.covered > 0)
                    && let Some((kept, _)) = group.rows.snapshot(worker)?
                    && version < kept
                {
                    return Err(refusal::older(worker, version, kept));
                }
            }
            SnapshotWrite::Forget { version, .. } if version != reached => {
                return Err(refusal::version(worker, version, reached));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The versions that the batch's values have before; 0 for those that are not there.
pub(super) fn values<E: Engine>(group: &Group<'_, E>, batch: &Batch) -> Result<Vec<u64>> {
    let mut versions = Vec::with_capacity(batch.state.len());
    for StateWrite { key, expected, .. } in &batch.state {
        let found = group.rows.value_version(key)?;
        let holds = match expected {
            Expected::Any => true,
            Expected::Absent => found.is_none(),
            Expected::Version(version) => found == Some(*version),
        };
        if !holds {
            return Err(refusal::value(key, *expected, found));
        }
        versions.push(found.unwrap_or(0));
    }
    Ok(versions)
}
