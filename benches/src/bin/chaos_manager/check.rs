//! Compares what is there with what may be.

use std::{collections::BTreeMap, path::Path};

use hodei_worker::{
    WorkerPhase, WorkerState, WorkerStateEvent,
    lifecycle::{Change, Goal, Worker},
    provider::WorkerFilter,
    store::Store,
};
use hodei_worker_benches::{Outcome, place::Place, processes};

use crate::model::{Model, NAMES, Wanted};

/// What the manager knows of a worker that is at rest.
#[derive(Debug)]
pub(crate) struct Known {
    name: String,
    state: String,
    goal: String,
    generation: u64,
    escalated: bool,
}

impl Known {
    pub(crate) fn of(worker: &Worker) -> Self {
        Self {
            name: worker.id.to_string(),
            state: worker.state.map_or("none", WorkerState::as_str).to_owned(),
            goal: match worker.goal {
                Goal::Running => "running",
                Goal::Stopped => "stopped",
                Goal::Removed => "removed",
            }
            .to_owned(),
            generation: worker.generation.get(),
            escalated: worker.escalated().is_some(),
        }
    }
    pub(crate) fn line(&self) -> String {
        format!("{} {} {} {} {}", self.name, self.state, self.goal, self.generation, self.escalated)
    }
    pub(crate) fn read(line: &str) -> Outcome<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let [name, state, goal, generation, escalated] = words[..] else {
            return Err(format!("the host told `{line}`").into());
        };
        Ok(Self {
            name: name.into(),
            state: state.into(),
            goal: goal.into(),
            generation: generation.parse()?,
            escalated: escalated == "true",
        })
    }
}

/// What is wrong: lost, doubled, orphaned.
pub(crate) async fn problems(
    place: Place,
    installation: &str,
    folder: &Path,
    known: &[Known],
    model: &mut Model,
    store: &dyn Store,
) -> Outcome<Vec<String>> {
    let provider = place.connect(installation).await?;
    let objects = provider.list_workers(&WorkerFilter::all()).await?.workers;
    let roots = if place == Place::Process { roots(installation) } else { BTreeMap::new() };
    let mut problems = Vec::new();
    for name in NAMES {
        let known = known.iter().find(|known| known.name == name);
        let objects: Vec<_> = objects.iter().filter(|status| status.worker.id.as_str() == name).collect();
        let live = match place {
            Place::Process => roots.get(name).copied().unwrap_or(0),
            _ => objects.iter().filter(|status| status.phase == WorkerPhase::Running).count(),
        };
        let possible = model.possible(name);
        let mut wrong = |what: String| {
            problems.push(format!(
                "{name}: {what}; {known:?}; may be {possible:?}; told {}; {objects:?}",
                model.told(name)
            ))
        };
        if objects.len() > 1 || live > 1 {
            wrong(format!("doubled: {} objects, {live} live", objects.len()));
        }
        let wanted = match known {
            None => Wanted::Nothing,
            Some(known) if known.goal == "running" => Wanted::Running,
            Some(_) => Wanted::Stopped,
        };
        if !possible.contains(&wanted) {
            wrong(format!("lost: it is {wanted:?}"));
        }
        match known {
            None if !objects.is_empty() || live > 0 => wrong("orphaned".into()),
            Some(known)
                if objects.iter().any(|status| status.worker.generation.get() != known.generation) =>
            {
                wrong("another generation".into());
            }
            Some(known) if known.state == "running" && live != 1 => wrong(format!("lost: {live} live")),
            Some(known) if known.state != "running" && live != 0 => wrong(format!("orphaned: {live} live")),
            Some(known) if known.goal == "running" => {
                let right = match name.as_bytes().last() {
                    Some(b'0'..=b'4') => known.state == "running",
                    Some(b'5' | b'6') => known.state == "stopped",
                    _ => known.state == "failed" && known.escalated,
                };
                if !right {
                    wrong("lost: not as it should have ended".into());
                }
            }
            _ => {}
        }
        model.is(name, wanted);
    }
    drop(provider);
    if place == Place::Process {
        problems.extend(double_runs(folder, store).await?);
    }
    Ok(problems)
}

/// The live processes of each worker whose parents are not its own.
fn roots(installation: &str) -> BTreeMap<String, usize> {
    let marked = processes::marked(installation);
    let mut roots = BTreeMap::new();
    for pid in &marked {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
        };
        let parent: Option<u32> = field("PPid:").and_then(|parent| parent.parse().ok());
        let is_zombie = field("State:").is_none_or(|state| state.starts_with('Z'));
        if is_zombie || parent.is_some_and(|parent| marked.contains(&parent)) {
            continue;
        }
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let name = environment
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(b"CHAOS_WORKER="))
            .map(|name| String::from_utf8_lossy(name).into_owned());
        if let Some(name) = name {
            *roots.entry(name).or_default() += 1;
        }
    }
    roots
}

/// Runs that began without an intent of their own in the log.
async fn double_runs(folder: &Path, store: &dyn Store) -> Outcome<Vec<String>> {
    let counted = folder.join("intents");
    let mut intents: BTreeMap<String, usize> = read_counts(&counted);
    let mut after: u64 =
        std::fs::read_to_string(folder.join("counted")).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    loop {
        let page = store.read(after, 10_000).await?;
        if page.compacted {
            return Err(
                format!("events after {after} are gone before the starts among them were counted").into()
            );
        }
        for stored in &page.events {
            let event = WorkerStateEvent::from_stored(stored)?;
            if matches!(event.change, Change::StartIntended { .. }) {
                *intents.entry(stored.worker.to_string()).or_default() += 1;
            }
        }
        after = page.next;
        if page.is_last {
            break;
        }
    }
    let text: String = intents.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
    std::fs::write(&counted, text)?;
    std::fs::write(folder.join("counted"), after.to_string())?;
    let mut problems = Vec::new();
    for name in NAMES {
        let runs = lines(&folder.join("runs").join(name));
        let intended = intents.get(name).copied().unwrap_or(0);
        if runs > intended {
            problems.push(format!("{name}: doubled: {runs} runs of {intended} starts"));
        }
    }
    Ok(problems)
}

fn read_counts(path: &Path) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?)))
        .collect()
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// How many runs there were in all.
pub(crate) fn runs(folder: &Path) -> usize {
    NAMES.iter().map(|name| lines(&folder.join("runs").join(name))).sum()
}
