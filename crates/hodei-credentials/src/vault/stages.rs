//! Stages, which the key-value engine does not know.
//!
//! Each version says in itself which stage it was stored with, and is written by check-and-set. What was moved since
//! stands in the secret's custom metadata, by check-and-set of its own, as the stages of all versions up to one: what
//! comes after that is told by the versions themselves, in their order. So a version and a move that are written at the
//! same time are in an order whatever happens between them, and a crash leaves nothing half-done.

use std::collections::BTreeMap;

use hodei_worker_core::credential::CredentialStage;
use serde::{Deserialize, Serialize};

/// The entry of the custom metadata that is ours.
pub(super) const ENTRY: &str = "hodei";

/// The stages of the versions up to one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Stages {
    /// Later versions are not counted in.
    pub(super) upto: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<u64>,
    /// Some versions expire.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) expiring: bool,
}

impl Stages {
    /// What the custom metadata says. `None`: no version was ever stored as pending, so each was in use from its birth.
    pub(super) fn of(custom: Option<&BTreeMap<String, String>>) -> Option<Self> {
        serde_json::from_str(custom?.get(ENTRY)?).ok()
    }

    /// Where all versions were in use from their birth. `numbers`: those that are there, the oldest first.
    pub(super) fn plain(numbers: &[u64]) -> Self {
        let mut newest = numbers.iter().rev().copied();
        let current = newest.next();
        let previous = newest.next();
        Self { upto: current.unwrap_or(0), current, previous, ..Self::default() }
    }

    /// No version up to that one is there.
    pub(super) fn none(upto: u64) -> Self {
        Self { upto, ..Self::default() }
    }

    /// Counts the next version in.
    pub(super) fn born(&mut self, number: u64, stage: CredentialStage) {
        self.upto = number;
        self.place(stage, number);
    }

    pub(super) fn staged(&self, stage: CredentialStage) -> Option<u64> {
        match stage {
            CredentialStage::Pending => self.pending,
            CredentialStage::Previous => self.previous,
            _ => self.current,
        }
    }

    pub(super) fn of_version(&self, number: u64) -> Vec<CredentialStage> {
        let has = |stage: &CredentialStage| self.staged(*stage) == Some(number);
        CredentialStage::ALL.iter().copied().filter(has).collect()
    }

    /// Gives the stage to that version.
    pub(super) fn place(&mut self, stage: CredentialStage, number: u64) {
        match stage {
            CredentialStage::Pending => self.pending = Some(number),
            CredentialStage::Previous => self.previous = Some(number),
            _ => {
                let before = self.current.replace(number);
                if before.is_some() && before != Some(number) {
                    self.previous = before;
                }
                // It waits no more, and is not what was before itself.
                self.pending.take_if(|pending| *pending == number);
                self.previous.take_if(|previous| *previous == number);
            }
        }
    }

    /// Takes the stages of a version that will be gone; the current one cannot be.
    pub(super) fn forget(&mut self, number: u64) {
        self.pending.take_if(|pending| *pending == number);
        self.previous.take_if(|previous| *previous == number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CredentialStage::{Current, Pending, Previous};

    fn staged(stages: &Stages) -> [Option<u64>; 3] {
        [Pending, Current, Previous].map(|stage| stages.staged(stage))
    }

    #[test]
    fn c2_stages_follow_births_and_moves() {
        let mut stages = Stages::plain(&[1]);
        stages.born(2, Pending);
        assert_eq!(staged(&stages), [Some(2), Some(1), None]);
        // Somebody else writes meanwhile: what is written without a word is in use.
        stages.born(3, Current);
        assert_eq!(staged(&stages), [Some(2), Some(3), Some(1)]);
        stages.place(Current, 2);
        assert_eq!((staged(&stages), stages.upto), ([None, Some(2), Some(3)], 3));
        stages.place(Current, 3);
        assert_eq!(staged(&stages), [None, Some(3), Some(2)]);
        stages.forget(2);
        assert_eq!(staged(&stages), [None, Some(3), None]);
    }

    #[test]
    fn c2_stages_are_read_as_they_were_written_and_are_short() {
        let mut stages = Stages::plain(&[u64::MAX - 3, u64::MAX - 2]);
        stages.born(u64::MAX, Pending);
        stages.expiring = true;
        let text = serde_json::to_string(&stages).unwrap();
        assert!(text.len() < 512, "the engine takes no more: {text}");
        let custom = BTreeMap::from([(ENTRY.to_owned(), text)]);
        assert_eq!(Stages::of(Some(&custom)), Some(stages));
        assert_eq!(Stages::of(None), None);
    }
}
