use std::{
    ops::{Bound, ControlFlow},
    sync::PoisonError,
};

use hodei_worker_core::{Result, store::Compaction};

use super::{Engine, Writer, error};
use crate::{engine::Table, format::EventRow};

/// Others write between parts.
const PART: u64 = 5_000;

impl<E: Engine> Writer<E> {
    /// Removes the next part of what may be removed.
    pub(super) fn compact(&mut self, through: u64) -> Result<Compaction> {
        self.revive()?;
        let before = self.manifest.first;
        let first = self.first_uncovered(through)?;
        if first > before {
            self.write(|group| group.remove_before(first))?;
        }
        Ok(Compaction::new(first - before, first))
    }

    /// The first position, of the next part, that has to stay.
    fn first_uncovered(&self, through: u64) -> Result<u64> {
        let mut first = self.manifest.first;
        let end = through.min(self.manifest.last).min(first + PART - 1);
        if end < first {
            return Ok(first);
        }
        let place = &self.folder.path;
        let engine = self.shared.engine.read().unwrap_or_else(PoisonError::into_inner);
        let engine = engine.as_ref().ok_or_else(error::closed)?;
        let index = self.shared.index();
        let mut wrong = None;
        let reading = error::guarded(|| {
            let begin = engine.at_or_before(Table::Log, &first.to_be_bytes())?;
            let begin = begin.map_or(first.to_be_bytes().to_vec(), |(key, _)| key);
            engine.range(Table::Log, Bound::Included(&begin), &mut |key, row| {
                let begin = <[u8; 8]>::try_from(key).map_or(0, u64::from_be_bytes);
                for (position, event) in EventRow::all(self.shared.seal, begin, first, row) {
                    let event = match event {
                        Ok(event) if position == first => event,
                        Ok(_) => {
                            wrong = Some(error::corrupt(place, format!("event {first} is missing")));
                            return ControlFlow::Break(());
                        }
                        Err(why) => {
                            wrong = Some(error::unreadable(place, &format!("event {first}"), why));
                            return ControlFlow::Break(());
                        }
                    };
                    let covered = index.heads.get(event.worker).map_or(0, |head| head.covered);
                    let over = index.over.get(event.worker).copied().unwrap_or(0);
                    if first > covered.max(over) {
                        return ControlFlow::Break(());
                    }
                    first += 1;
                    if first > end {
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            })
        });
        reading.map_err(|fault| error::from_fault(place, "cannot read the store", fault))?;
        wrong.map_or(Ok(first), Err)
    }
}
