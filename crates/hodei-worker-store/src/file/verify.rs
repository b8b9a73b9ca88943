use std::path::Path;

use hodei_worker_core::Result;

use super::{
    anchor::Found,
    error,
    folder::Folder,
    open,
    scan::{self, Findings},
    scratch::Trial,
};
use crate::{
    FileSettings, Verification,
    engine::{Engine, Fault},
    format::{Manifest, Unreadable},
};

const DOING: &str = "cannot verify the store";

/// Changes nothing, and says all that does not add up.
pub(crate) fn verify<E: Engine>(path: &Path) -> Result<Verification> {
    let settings = FileSettings::default().create(false);
    let folder = Folder::read(path)?;
    let mut report = Verification::default();
    let anchor = folder.found()?;
    match anchor {
        Found::Unreadable => {
            report.notes.push("its anchor cannot be read; opening it writes it anew".to_owned())
        }
        Found::Nothing => report.notes.push("its anchor is missing; opening it writes it anew".to_owned()),
        Found::Newer(version) => return Err(error::newer(path, version)),
        Found::Anchor(_) => {}
    }
    let entry = path.join(E::ENTRY);
    if !entry.exists() {
        report.findings.push(format!("`{}` is missing in it", E::ENTRY));
        return Ok(report);
    }
    let engine = match Trial::<E>::of(&entry, Trial::<E>::temporary(), &settings) {
        Ok(engine) => engine,
        Err(Fault::Damaged(what)) => {
            report.findings.push(format!("its engine cannot read it: {what}"));
            return Ok(report);
        }
        Err(fault) => return Err(error::from_fault(path, DOING, fault)),
    };
    match scan::manifest(&*engine) {
        Ok(Some(Ok(manifest))) => look(path, &*engine, &manifest, &anchor, &mut report)?,
        Ok(Some(Err(Unreadable::Newer(version)))) => return Err(error::newer(path, version)),
        Ok(Some(Err(Unreadable::Damaged))) => {
            report.findings.push("its manifest is not what was written there".to_owned());
        }
        Ok(None) => report.findings.push("its manifest is missing".to_owned()),
        Err(Fault::Damaged(what)) => report.findings.push(format!("its engine cannot read it: {what}")),
        Err(fault) => return Err(error::from_fault(path, DOING, fault)),
    }
    Ok(report)
}

fn look<E: Engine>(
    path: &Path,
    engine: &E,
    manifest: &Manifest,
    anchor: &Found,
    report: &mut Verification,
) -> Result<()> {
    if let Found::Anchor(anchor) = anchor {
        report.findings.extend(open::missing(anchor, manifest));
    }
    match scan::everything(engine, manifest) {
        Ok(scan) => {
            report.events = (manifest.last + 1).saturating_sub(manifest.first);
            report.workers = scan.index.heads.len() as u64;
            let Findings { found, more, .. } = scan.findings;
            report.findings.extend(found);
            if more > 0 {
                report.findings.push(format!("and {more} more"));
            }
        }
        Err(Fault::Damaged(what)) => report.findings.push(format!("its engine cannot read it: {what}")),
        Err(fault) => return Err(error::from_fault(path, DOING, fault)),
    }
    Ok(())
}
