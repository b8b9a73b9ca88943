//! Where a run is, and the end of one whose supervisor was lost: what that would have done, whoever looks does.

use std::{collections::BTreeSet, fs, io, path::Path, sync::Arc};

use hodei_worker_core::{Result, Timestamp};
use serde::de::DeserializeOwned;

use crate::{
    error, files,
    host::{Host, blocking},
    layout::{Layout, RunKey},
    lock, proc,
    scan::Marks,
    supervise::{MARKER, clear, forget_earlier, groups, is_buried, note_buried, noted, wait_for},
    wire::{End, Exit, GroupPlan, Started},
};

/// Where a claimed run is.
#[derive(Debug)]
pub(crate) enum RunState {
    /// Its supervisor is starting it.
    Starting,
    Running(Started),
    /// It runs, and its supervisor is gone.
    Lost(Started),
    Over(Exit, Option<Started>),
    /// The worker has been deleted while we looked, or has been run twice since.
    Gone,
}

/// How often in a row what is left of a run is killed in vain, before it is given up.
const TRIES: usize = 5;
/// How often it is looked for at all: it may fork as fast as it dies.
const LOOKS: usize = 10_000;

impl Host {
    /// Where a claimed run is. One whose supervisor was lost and that has ended is cleaned up here, as its supervisor
    /// would have done; then it blocks.
    pub(crate) fn run_state(&self, key: &RunKey) -> Result<RunState> {
        match self.look(key)? {
            Some(state) => Ok(state),
            None => self.bury(key, None),
        }
    }

    /// The same on the event loop, which it does not block.
    pub(crate) async fn settled_state(self: &Arc<Self>, key: &RunKey) -> Result<RunState> {
        match self.look(key)? {
            Some(state) => Ok(state),
            None => {
                let (host, key) = (Arc::clone(self), key.clone());
                blocking(move || host.bury(&key, None)).await
            }
        }
    }

    /// The same without waiting; `None` for one that has ended without a supervisor, and is to be cleaned up.
    pub(crate) fn look(&self, key: &RunKey) -> Result<Option<RunState>> {
        self.look_at_run(key)
            .map_err(|error| error::file("reading a run's state", &self.layout.exit(key), error))
    }

    fn look_at_run(&self, key: &RunKey) -> io::Result<Option<RunState>> {
        let layout = &self.layout;
        if let Some(over) = over(layout, key)? {
            return Ok(Some(over));
        }
        if lock::is_held(&layout.lock(key))? {
            let started = readable(files::get(&layout.started(key)))?;
            return Ok(Some(started.map_or(RunState::Starting, RunState::Running)));
        }
        // The end is written before the lock is released.
        if let Some(over) = over(layout, key)? {
            return Ok(Some(over));
        }
        let started: Option<Started> = readable(files::get(&layout.started(key)))?;
        Ok(match started {
            Some(started) if started.boot == self.boot && proc::is_alive(started.process) => {
                Some(RunState::Lost(started))
            }
            started => match files::read(&layout.claim(key))? {
                Some(claim) if is_buried(&claim) => {
                    Some(RunState::Over(Exit::new(written(&layout.claim(key))?, end_of(&claim)), started))
                }
                _ => None,
            },
        })
    }

    /// Cleans up a run that has ended without a supervisor, and writes down that nobody saw its end. `marks` were looked
    /// at after that end.
    pub(crate) fn bury(&self, key: &RunKey, marks: Option<&Marks>) -> Result<RunState> {
        self.bury_run(key, marks)
            .map_err(|error| error::file("cleaning up after a run", &self.layout.exit(key), error))
    }

    fn bury_run(&self, key: &RunKey, marks: Option<&Marks>) -> io::Result<RunState> {
        let layout = &self.layout;
        if files::read(&layout.claim(key))?.is_none() {
            return Ok(RunState::Gone);
        }
        // Whoever holds the lock is burying it too, or has been given the claim anew and runs it.
        let Some(_lock) = lock::take(&layout.lock(key))? else {
            let started = readable(files::get(&layout.started(key)))?;
            return Ok(started.map_or(RunState::Starting, RunState::Running));
        };
        if let Some(over) = over(layout, key)? {
            return Ok(over);
        }
        let Some(claim) = files::read(&layout.claim(key))? else {
            if !layout.creation(&key.creation).exists() {
                files::remove(&layout.lock(key))?;
            }
            return Ok(RunState::Gone);
        };
        let started: Option<Started> = readable(files::get(&layout.started(key)))?;
        if let Some(started) = &started
            && started.boot == self.boot
            && proc::is_alive(started.process)
        {
            return Ok(RunState::Lost(started.clone()));
        }
        let gone = self.contain(key, started.as_ref(), marks);
        let exit = Exit { outlived: !gone, ..Exit::new(self.clock.now(), end_of(&claim)) };
        match files::put_new(&layout.exit(key), &exit) {
            Ok(_) => forget_earlier(layout, key),
            // Its claim has room for that; or the next look would clean up once more, and so for ever, since a lock that
            // is let go is an event.
            Err(error) if error::is_full(&error) => {
                note_buried(layout, key, noted(&claim))?;
                return Ok(RunState::Over(Exit::new(written(&layout.claim(key))?, exit.end), started));
            }
            Err(error) => return Err(error),
        }
        Ok(RunState::Over(exit, started))
    }

    /// Kills what is left of a run without a supervisor: by its groups, and by the mark in the environment. It blocks.
    /// Whether nothing is left.
    pub(crate) fn contain(&self, key: &RunKey, started: Option<&Started>, mut marks: Option<&Marks>) -> bool {
        if started.is_some_and(|started| started.boot != self.boot) {
            return true;
        }
        let plan = self.groups_of(key, started);
        let marker = key.marker(self.installation.as_str());
        // A process may fork while it is being killed, so until nothing is found.
        let mut looks = Looks::default();
        let gone = loop {
            let marked = match marks.take() {
                Some(marks) => marks.get(marker.as_bytes()).cloned().unwrap_or_default(),
                None => proc::marked(MARKER, &marker),
            };
            if let Some(gone) = looks.found(kill_left(&plan, &marker, &marked, started)) {
                break gone;
            }
        };
        let _ = groups::remove(&plan);
        clear(&self.layout, key);
        gone
    }

    /// The same for a run whose own process is gone, on the event loop, where many may end at once. What is only for
    /// the life of a run is left to be removed. Whether nothing is left.
    pub(crate) async fn contain_with_others(self: &Arc<Self>, key: &RunKey, plan: &GroupPlan) -> bool {
        let marker = key.marker(self.installation.as_str());
        let mut looks = Looks::default();
        loop {
            let marks = self.scans.next().await;
            let marked = marks.get(marker.as_bytes()).cloned().unwrap_or_default();
            if marked.is_empty() && plan.all().next().is_none() {
                return true;
            }
            let (plan, marker) = (plan.clone(), marker.clone());
            // Cut off, it is cleaned up after like any other.
            let killed = blocking(move || Ok(kill_left(&plan, &marker, &marked, None))).await;
            if let Some(gone) = looks.found(killed.unwrap_or(Found::Stuck)) {
                return gone;
            }
        }
    }

    fn groups_of(&self, key: &RunKey, started: Option<&Started>) -> GroupPlan {
        started.map(|started| started.groups.clone()).unwrap_or_else(|| self.limits.plan_of(key))
    }
}

/// What one look for a run's processes came to.
enum Found {
    Nothing,
    /// Some of them have died.
    Dying,
    /// They are another user's by now, or wait for a disk that does not answer.
    Stuck,
}

#[derive(Default)]
struct Looks {
    all: usize,
    in_vain: usize,
}

impl Looks {
    /// Whether that was the end of it, and nothing is left then.
    fn found(&mut self, found: Found) -> Option<bool> {
        self.all += 1;
        self.in_vain = match found {
            Found::Nothing => return Some(true),
            Found::Dying => 0,
            Found::Stuck => self.in_vain + 1,
        };
        (self.in_vain == TRIES || self.all == LOOKS).then_some(false)
    }
}

/// Kills what is in the groups, what of `marked` carries the mark, the run's own process, and all that these have
/// started.
fn kill_left(plan: &GroupPlan, marker: &str, marked: &[i32], started: Option<&Started>) -> Found {
    groups::kill(plan);
    let look = || {
        let mut left: BTreeSet<i32> = groups::processes(plan).into_iter().collect();
        left.extend(marked.iter().filter(|pid| proc::carries(**pid, MARKER, marker)));
        left.extend(
            started
                .map(|started| started.process)
                .filter(|process| proc::is_alive(*process))
                .map(|it| it.pid),
        );
        left.retain(|pid| proc::is_running(*pid));
        let below: Vec<_> = left.iter().flat_map(|pid| proc::descendants(*pid)).collect();
        left.extend(below);
        left
    };
    let killed = proc::kill(look);
    killed.iter().for_each(|pid| wait_for(*pid));
    match killed.iter().any(|pid| !proc::is_running(*pid)) {
        true => Found::Dying,
        false if look().is_empty() => Found::Nothing,
        false => Found::Stuck,
    }
}

/// How a run ended, if that is written down.
fn over(layout: &Layout, key: &RunKey) -> io::Result<Option<RunState>> {
    let path = layout.exit(key);
    let exit = match files::get(&path) {
        Err(error) if is_unreadable(&error) => {
            let claim = files::read(&layout.claim(key))?.unwrap_or_default();
            tracing::warn!(run = %key, %error, "how a run ended cannot be read");
            Some(Exit::new(written(&path)?, end_of(&claim)))
        }
        exit => exit?,
    };
    let Some(exit) = exit else { return Ok(None) };
    Ok(Some(RunState::Over(exit, readable(files::get(&layout.started(key)))?)))
}

/// How a run ended of which nothing more is known than what its claim says.
fn end_of(claim: &[u8]) -> End {
    noted(claim).map_or(End::Lost, End::Wait)
}

/// When a file was written.
fn written(path: &Path) -> io::Result<Timestamp> {
    let time = fs::metadata(path)?.modified()?;
    Ok(Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// A record that cannot be read is as good as none: it must hide no other worker, nor keep its own from being deleted.
fn readable<T: DeserializeOwned>(record: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match record {
        Err(error) if is_unreadable(&error) => Ok(None),
        record => record,
    }
}

/// Whether a file could be read and made no sense: it was cut off, or written by a later version.
fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error().is_none()
}
