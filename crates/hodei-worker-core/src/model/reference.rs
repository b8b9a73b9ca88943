use std::{fmt, num::NonZeroU64, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{ProviderName, WorkerId};

/// Which creation of a worker: 1 for the first, one more for each that replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(NonZeroU64);

impl Generation {
    /// The first creation.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The generation of that number; `None` for 0.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
    /// Its number, from 1.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
    /// The creation after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Default for Generation {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One worker in one generation: what every call of the port is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerRef {
    /// The worker.
    pub id: WorkerId,
    /// Which of its creations.
    pub generation: Generation,
}

impl WorkerRef {
    /// The worker's creation of that number (0 counts as 1).
    pub fn new(id: WorkerId, generation: u64) -> Self {
        Self { id, generation: Generation::new(generation).unwrap_or_default() }
    }
    /// The worker's first creation.
    pub fn first(id: WorkerId) -> Self {
        Self { id, generation: Generation::FIRST }
    }
}

impl fmt::Display for WorkerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.id, self.generation)
    }
}

/// One start of a worker, as its provider names it. Opaque: compare for equality only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Arc<str>);

impl RunId {
    /// The run that the provider calls by this text.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().into())
    }
    /// The provider's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a creation returns: enough to find the worker again, small enough to store with each event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerHandle {
    /// The provider's name in the host's settings.
    pub provider: ProviderName,
    /// The worker and its generation.
    pub worker: WorkerRef,
    /// The provider's own, unique name of it: a container id, a pod's uid, a folder.
    pub native_id: String,
}

impl WorkerHandle {
    /// A handle of these parts.
    pub fn new(provider: ProviderName, worker: WorkerRef, native_id: impl Into<String>) -> Self {
        Self { provider, worker, native_id: native_id.into() }
    }
}
