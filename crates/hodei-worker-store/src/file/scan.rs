//! Reads all of a store, and finds what does not add up.

mod log;
mod tables;

use std::{collections::HashMap, ops::ControlFlow};

use hodei_worker_core::model::WorkerId;

use super::{error::guarded, index::Index};
use crate::{
    engine::{Engine, Outcome, Table},
    format::{MANIFEST, Manifest, Seal, Unreadable},
};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) index: Index,
    pub(crate) findings: Findings,
}

/// What does not add up.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) found: Vec<String>,
    /// Those that were not written down, because there are too many.
    pub(crate) more: u64,
    /// A row of that newer format was met.
    pub(crate) newer: Option<u8>,
}

impl Findings {
    const MOST: usize = 1000;

    pub(crate) fn add(&mut self, finding: impl Into<String>) {
        if self.found.len() < Self::MOST {
            self.found.push(finding.into());
        } else {
            self.more += 1;
        }
    }
    fn unreadable(&mut self, what: &str, why: Unreadable) {
        match why {
            Unreadable::Damaged => self.add(format!("{what} is not what was written there")),
            Unreadable::Newer(version) => {
                self.newer = Some(version);
                self.add(format!("{what} was written by format {version}"));
            }
        }
    }
}

/// The manifest; `None` in a new engine.
pub(crate) fn manifest<E: Engine>(engine: &E) -> Outcome<Option<Result<Manifest, Unreadable>>> {
    Ok(guarded(|| engine.get(Table::Meta, MANIFEST))?.map(|row| Manifest::read(&row)))
}

/// Reads everything and compares it with the manifest.
pub(crate) fn everything<E: Engine>(engine: &E, manifest: &Manifest) -> Outcome<Scan> {
    let seal = Seal::of(&manifest.log);
    let mut scan = Scan::default();
    (scan.index.first, scan.index.last) = (manifest.first, manifest.last);
    if manifest.first == 0 || manifest.first > manifest.last + 1 {
        scan.findings.add(format!("its log goes from {} to {}", manifest.first, manifest.last));
    }
    scan.tables(engine, seal, manifest)?;
    scan.log(engine, seal)?;
    Ok(scan)
}

/// Visits the rows of a table, all of them.
fn rows<E: Engine>(engine: &E, table: Table, mut visit: impl FnMut(&[u8], &[u8])) -> Outcome<()> {
    guarded(|| {
        engine.range(table, std::ops::Bound::Unbounded, &mut |key, row| {
            visit(key, row);
            ControlFlow::Continue(())
        })
    })
}

/// A worker's id as a table's key.
fn worker(key: &[u8]) -> Option<WorkerId> {
    std::str::from_utf8(key).ok().and_then(|text| WorkerId::new(text).ok())
}

/// Where the events of a worker were last met in the log.
type Met = HashMap<WorkerId, (u64, u64)>;
