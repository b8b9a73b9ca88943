//! Where things are kept, and what they are called. Every name is made from ids without dots, so none is ambiguous.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use hodei_worker_core::{
    WorkerId, WorkerRef,
    model::{Generation, RunId},
};

/// The folder of one installation:
///
/// ```text
/// workers/<id>.<generation>/config.json        what was asked for; the folder appears whole, by rename
///                          /<creation>/<n>.claim     made by whoever runs run n, exclusively; the last two are kept
///                          /<creation>/<n>.control   a FIFO: what the supervisor is told
///                          /<creation>/<n>.exec      commands were run beside run n
///                          /<creation>/<n>.secrets…/ secret files, while run n lasts
/// locks/<run>      held by the supervisor for its life; its closing is an event even after a SIGKILL
/// started/<run>    pid, start time, boot
/// stopping/<run>   made exclusively by the first to ask for a stop
/// exits/<run>      how it ended
/// new/, trash/     worker folders on their way in and out
/// id               names the part of the log folder that is this state's
/// ```
/// `<run>` is a [`RunKey`]. The four folders in the middle are flat so that one watch each serves all workers.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// The flat folders that are watched, and what a change in them means.
pub(crate) const FLAT: [&str; 4] = ["locks", "started", "stopping", "exits"];

impl Layout {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
    pub(crate) fn workers(&self) -> PathBuf {
        self.dir("workers")
    }
    pub(crate) fn worker(&self, worker: &WorkerRef) -> PathBuf {
        self.workers().join(worker_name(worker))
    }
    /// The folder that holds a creation's claims.
    pub(crate) fn creation(&self, creation: &Creation) -> PathBuf {
        self.worker(&creation.worker).join(&creation.nonce)
    }
    pub(crate) fn claim(&self, key: &RunKey) -> PathBuf {
        self.creation(&key.creation).join(format!("{}.claim", key.run))
    }
    pub(crate) fn control(&self, key: &RunKey) -> PathBuf {
        self.creation(&key.creation).join(format!("{}.control", key.run))
    }
    /// Exists when commands were run beside the worker: they are nobody's descendants, and known by their mark only.
    pub(crate) fn exec_mark(&self, key: &RunKey) -> PathBuf {
        self.creation(&key.creation).join(format!("{}.exec", key.run))
    }
    pub(crate) fn lock(&self, key: &RunKey) -> PathBuf {
        self.root.join("locks").join(key.to_string())
    }
    pub(crate) fn started(&self, key: &RunKey) -> PathBuf {
        self.root.join("started").join(key.to_string())
    }
    pub(crate) fn stopping(&self, key: &RunKey) -> PathBuf {
        self.root.join("stopping").join(key.to_string())
    }
    pub(crate) fn exit(&self, key: &RunKey) -> PathBuf {
        self.root.join("exits").join(key.to_string())
    }
}

/// `<id>.<generation>`, as folders are called.
pub(crate) fn worker_name(worker: &WorkerRef) -> String {
    format!("{}.{}", worker.id, worker.generation)
}

/// The worker that a folder's name means.
pub(crate) fn parse_worker_name(name: &str) -> Option<WorkerRef> {
    let (id, generation) = name.split_once('.')?;
    Some(WorkerRef { id: WorkerId::new(id).ok()?, generation: Generation::new(generation.parse().ok()?)? })
}

/// One creation of a worker: its folder may be removed and made again, then the nonce differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creation {
    pub(crate) worker: WorkerRef,
    pub(crate) nonce: String,
}

impl Creation {
    pub(crate) fn new(worker: WorkerRef) -> Self {
        Self { worker, nonce: format!("{:012x}", fastrand::u64(..) >> 16) }
    }
    pub(crate) fn run(&self, run: u64) -> RunKey {
        RunKey { creation: self.clone(), run }
    }
    /// The number of the run that this id names, if it is one of this creation.
    pub(crate) fn run_of(&self, id: &RunId) -> Option<u64> {
        let (nonce, run) = id.as_str().split_once('-')?;
        (nonce == self.nonce).then_some(())?;
        run.parse().ok()
    }
}

impl fmt::Display for Creation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", worker_name(&self.worker), self.nonce)
    }
}

/// One run of one creation of a worker, unique for all time: `<id>.<generation>.<creation>.<n>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunKey {
    pub(crate) creation: Creation,
    pub(crate) run: u64,
}

impl RunKey {
    pub(crate) fn id(&self) -> RunId {
        RunId::new(format!("{}-{}", self.creation.nonce, self.run))
    }
    /// The variable by which a process is known to belong to this run, if all else is lost.
    pub(crate) fn marker(&self, installation: &str) -> String {
        format!("{installation}/{self}")
    }
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.creation, self.run)
    }
}

impl FromStr for RunKey {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (rest, run) = text.rsplit_once('.').ok_or(())?;
        let (worker, nonce) = rest.rsplit_once('.').ok_or(())?;
        let worker = parse_worker_name(worker).ok_or(())?;
        let creation = Creation { worker, nonce: nonce.to_owned() };
        Ok(Self { creation, run: run.parse().map_err(|_| ())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l6_names_are_read_back_as_they_were_written() {
        let worker = WorkerRef::new(WorkerId::new("a-1").unwrap(), 7);
        let key = Creation::new(worker.clone()).run(3);
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert_eq!(parse_worker_name(&worker_name(&worker)), Some(worker.clone()));
        assert_eq!(key.creation.run_of(&key.id()), Some(3));
        let other = Creation { worker, nonce: "0".into() };
        assert_eq!(other.run_of(&key.id()), None, "a run of an earlier creation is none of this one");
    }
}
