use std::fmt;

/// What verifying a store found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Verification {
    /// Events in its log.
    pub events: u64,
    /// Workers that have a stream or a snapshot.
    pub workers: u64,
    /// What does not add up: such a store is not opened.
    pub findings: Vec<String>,
    /// What opening it mends by itself.
    pub notes: Vec<String>,
}

impl Verification {
    /// Whether everything adds up.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_sound() { "everything adds up" } else { "it does not add up" };
        write!(f, "{verdict}: {} events of {} workers", self.events, self.workers)?;
        for line in self.findings.iter().chain(&self.notes) {
            write!(f, "\n- {line}")?;
        }
        Ok(())
    }
}

/// What repairing a store came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Salvage {
    /// Events that the new store has.
    pub events: u64,
    /// Snapshots that the new store has.
    pub snapshots: u64,
    /// Values that the new store has.
    pub values: u64,
    /// What was lost, or may have been.
    pub lost: Vec<String>,
    /// Whether events have other positions than they had, because some are missing. The log goes on where the old one
    /// ended, and none of its positions is given twice.
    pub moved: bool,
}

impl Salvage {
    /// Whether all of it was saved.
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty()
    }
}

impl fmt::Display for Salvage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "saved {} events, {} snapshots and {} values", self.events, self.snapshots, self.values)?;
        for line in &self.lost {
            write!(f, "\n- lost: {line}")?;
        }
        Ok(())
    }
}
