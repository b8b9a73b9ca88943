use super::{Met, Scan, rows};
use crate::{
    engine::{Engine, Outcome, Table},
    file::index::{Head, Index},
    format::{EventRow, Seal},
};

impl Scan {
    /// The log: no position is missing, and each worker's versions follow one by one.
    pub(super) fn log<E: Engine>(&mut self, engine: &E, seal: Seal) -> Outcome<()> {
        let Self { index, findings } = self;
        let (first, last) = (index.first, index.last);
        let mut met = Met::with_capacity(index.heads.len());
        let mut next = first;
        rows(engine, Table::Log, |key, row| {
            let Ok(key) = <[u8; 8]>::try_from(key) else {
                return findings.add("its log has a row that is no event");
            };
            let begin = u64::from_be_bytes(key);
            // Those before the log's first were compacted away, and stay as long as the row has others.
            let from = if begin < first && next == first { first } else { begin };
            let mut has_any = false;
            for (position, event) in EventRow::all(seal, begin, from, row) {
                has_any = true;
                if position < next || position > last {
                    findings.add(format!("event {position} is beyond its log, {first} to {last}"));
                    continue;
                }
                if position > next {
                    findings.add(format!("events {next} to {} are missing", position - 1));
                }
                next = position + 1;
                match event {
                    Err(why) => findings.unreadable(&format!("event {position}"), why),
                    Ok(event) => {
                        if let Err(wrong) = follow(index, &mut met, position, &event) {
                            findings.add(wrong);
                        }
                    }
                }
            }
            if !has_any {
                findings.add(format!("event {begin} is beyond its log, {first} to {last}"));
            }
        })?;
        if next <= last {
            findings.add(format!("events {next} to {last} are missing"));
        }
        for (worker, head) in &index.heads {
            let reached = met.get(worker).map_or(0, |(_, position)| *position);
            if head.covered >= first && reached < head.covered {
                findings.add(format!(
                    "event {} of `{worker}`, which its snapshot covers, is missing",
                    head.covered
                ));
            }
        }
        for (worker, (version, position)) in met {
            // Of a stream that is over, nothing is held.
            if index.over.get(&worker).is_none_or(|over| position > *over) {
                let covered = index.heads.get(&worker).map_or(0, |head| head.covered);
                index.heads.insert(worker, Head { version, last: position, covered });
            }
        }
        Ok(())
    }
}

/// Whether the event follows the last of its stream.
fn follow(index: &Index, met: &mut Met, position: u64, event: &EventRow<'_>) -> Result<(), String> {
    let EventRow { worker, version, back, .. } = *event;
    let over = index.over.get(worker).copied().unwrap_or(0);
    let snapshot = index.heads.get(worker).filter(|head| head.covered > 0);
    let covered = snapshot.map_or(0, |head| head.covered);
    let wrong = |why: &str| Err(format!("event {position}, version {version} of `{worker}`, {why}"));
    let follows = match met.get(worker) {
        // A new life begins when the last was over.
        Some((_, last)) if version == 1 => back == 0 && *last <= over,
        Some((last_version, last)) => back == *last && version == last_version + 1,
        None if version == 1 => back == 0,
        // Its beginning was compacted away, because something covers it.
        None => back > 0 && back < index.first && back <= over.max(covered),
    };
    if !follows {
        return wrong("does not follow the one before it");
    }
    if position == covered && snapshot.is_some_and(|head| head.version != version) {
        return wrong("is not the version that its snapshot names");
    }
    match met.get_mut(worker) {
        Some(known) => *known = (version, position),
        None => {
            let id = index.share(worker).ok_or_else(|| format!("event {position} is of no worker"))?;
            met.insert(id, (version, position));
        }
    }
    Ok(())
}
