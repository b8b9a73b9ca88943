use serde_json::Value;

use crate::{capability::Capability, model::WorkerRequirements};

/// What a provider type found in the environment.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Detected<S> {
    /// Settings that fit.
    pub settings: S,
    /// Why: `DOCKER_HOST is set`, `the socket /var/run/docker.sock exists`.
    pub reason: String,
    /// Whether it may be chosen without being named. What costs money is only listed.
    pub selectable: bool,
    /// Who is chosen among several: the highest. The local process provider has 0.
    pub priority: i32,
    /// What this type can never do, known without connecting.
    pub lacks: Vec<Capability>,
}

impl<S> Detected<S> {
    /// Found, may be chosen, with the priority 10.
    pub fn new(settings: S, reason: impl Into<String>) -> Self {
        Self { settings, reason: reason.into(), selectable: true, priority: 10, lacks: Vec::new() }
    }
    /// With another priority.
    #[must_use]
    pub fn with_priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }
    /// Of a type that can never do these: it is not chosen for workers that need one of them.
    #[must_use]
    pub fn lacking(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.lacks.extend(capabilities);
        self
    }
    /// Only listed, never chosen by itself.
    #[must_use]
    pub fn listed_only(mut self) -> Self {
        self.selectable = false;
        self
    }
}

/// A provider type that fits the environment.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// The type.
    pub provider_type: &'static str,
    /// Settings that fit.
    pub settings: Value,
    /// Why it is a candidate.
    pub reason: String,
    /// Whether it may be chosen without being named.
    pub selectable: bool,
    /// Who is chosen among several: the highest.
    pub priority: i32,
    /// What this type can never do.
    pub lacks: Vec<Capability>,
}

impl Candidate {
    /// Why it is not chosen by itself for these requirements, if it is not. What it can really do is known once it is
    /// connected.
    pub fn unfit_reason(&self, requirements: &WorkerRequirements) -> Option<String> {
        if !self.selectable {
            return Some("chosen only where it is named".to_owned());
        }
        let wanted = &requirements.capabilities;
        let lacking = self.lacks.iter().filter(|one| wanted.contains(one));
        let lacking: Vec<_> = lacking.map(|one| format!("`{one}`")).collect();
        (!lacking.is_empty()).then(|| format!("lacks {}", lacking.join(", ")))
    }
}

/// Which provider type was chosen, and why.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Detection {
    /// The chosen one.
    pub chosen: Candidate,
    /// All that were found, the best first.
    pub candidates: Vec<Candidate>,
}
