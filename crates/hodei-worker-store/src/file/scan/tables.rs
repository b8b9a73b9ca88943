use super::{Scan, rows, worker};
use crate::{
    engine::{Engine, Outcome, Table},
    file::index::Head,
    format::{Manifest, OverRow, Seal, SnapshotRow, StateRow, Tally},
};

impl Scan {
    /// State, snapshots and ends of streams: each row whole, and all together what the manifest counts.
    pub(super) fn tables<E: Engine>(&mut self, engine: &E, seal: Seal, manifest: &Manifest) -> Outcome<()> {
        let findings = &mut self.findings;
        let mut tally = Tally::default();
        rows(engine, Table::State, |key, row| {
            tally.add(row);
            if let Err(why) = StateRow::read(seal, key, row) {
                findings.unreadable(&format!("the value `{}`", String::from_utf8_lossy(key)), why);
            }
        })?;
        self.compare("values", tally, manifest.state);

        let Self { index, findings } = self;
        let mut tally = Tally::default();
        rows(engine, Table::Snapshots, |key, row| {
            tally.add(row);
            let what = || format!("the snapshot of `{}`", String::from_utf8_lossy(key));
            match (SnapshotRow::read(seal, key, row), worker(key)) {
                (Err(why), _) => findings.unreadable(&what(), why),
                (Ok(kept), Some(worker))
                    if kept.version > 0 && (1..=manifest.last).contains(&kept.position) =>
                {
                    let head = Head { version: kept.version, last: kept.position, covered: kept.position };
                    index.heads.insert(worker, head);
                }
                (Ok(_), _) => findings.add(format!("{} is of nothing that the log has", what())),
            }
        })?;
        self.compare("snapshots", tally, manifest.snapshots);

        let Self { index, findings } = self;
        let mut tally = Tally::default();
        rows(engine, Table::Over, |key, row| {
            tally.add(row);
            let what = || format!("the end of `{}`", String::from_utf8_lossy(key));
            match (OverRow::read(seal, key, row), worker(key)) {
                (Err(why), _) => findings.unreadable(&what(), why),
                (Ok(over), Some(worker)) if (1..=manifest.last).contains(&over.position) => {
                    index.over.insert(worker, over.position);
                }
                (Ok(_), _) => findings.add(format!("{} is of nothing that the log has", what())),
            }
        })?;
        self.compare("ends of streams", tally, manifest.over);
        Ok(())
    }

    fn compare(&mut self, what: &str, found: Tally, counted: Tally) {
        if found.rows != counted.rows {
            self.findings.add(format!("it has {} {what}, and wrote {}", found.rows, counted.rows));
        } else if found.digest != counted.digest {
            self.findings.add(format!("its {what} are not those that it wrote"));
        }
    }
}
