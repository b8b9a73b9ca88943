use serde::{Deserialize, Serialize};

use super::{CredentialStage, CredentialVersion, Expect, VersionMetadata, Which};
use crate::{
    clock::Timestamp,
    error::{Error, ErrorKind, Result},
};

/// The versions of one credential and their stages, without what they say: how every store of ours counts. Pure.
///
/// A version that is stored as the current one makes the one before it the previous. A stage belongs to one version;
/// versions with a stage are kept, and of the others the newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct VersionLedger {
    /// The oldest first.
    versions: Vec<Entry>,
    /// The last number that was given out; none is given twice.
    last: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    number: u64,
    created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// A version that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewVersion {
    /// When.
    pub created: Timestamp,
    /// When it is no longer good.
    pub expires: Option<Timestamp>,
    /// By what a repetition is known.
    pub token: Option<String>,
    /// The stage that it gets.
    pub stage: CredentialStage,
}

impl NewVersion {
    /// One that becomes the current one.
    pub fn current(created: Timestamp) -> Self {
        Self { created, expires: None, token: None, stage: CredentialStage::Current }
    }
}

/// The name of the version of that number.
pub(crate) fn version_name(number: u64) -> CredentialVersion {
    CredentialVersion::new(number.to_string())
}

impl VersionLedger {
    /// How many versions without a stage are kept.
    pub const KEPT: usize = 10;

    /// No version; numbers go on after that one.
    pub fn after(last: u64) -> Self {
        Self { last, ..Self::default() }
    }
    /// Whether there is no version.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }
    /// The last number that was given out.
    pub fn last(&self) -> u64 {
        self.last
    }
    /// The numbers of all versions, the oldest first.
    pub fn numbers(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.versions.iter().map(|entry| entry.number)
    }
    /// The newest version's number, and when it was stored.
    pub fn newest(&self) -> Option<(u64, Timestamp)> {
        self.versions.last().map(|entry| (entry.number, entry.created))
    }

    fn slot(&mut self, stage: CredentialStage) -> &mut Option<u64> {
        match stage {
            CredentialStage::Pending => &mut self.pending,
            CredentialStage::Current => &mut self.current,
            CredentialStage::Previous => &mut self.previous,
        }
    }
    /// The version that has the stage.
    pub fn staged(&self, stage: CredentialStage) -> Option<u64> {
        match stage {
            CredentialStage::Pending => self.pending,
            CredentialStage::Current => self.current,
            CredentialStage::Previous => self.previous,
        }
    }
    /// The stages of a version.
    pub fn stages(&self, number: u64) -> Vec<CredentialStage> {
        let has = |stage: &CredentialStage| self.staged(*stage) == Some(number);
        CredentialStage::ALL.iter().copied().filter(has).collect()
    }
    /// The version that is meant, if there is one.
    pub fn find(&self, which: &Which) -> Option<u64> {
        match which {
            Which::Stage(stage) => self.staged(*stage),
            Which::Version(version) => self.numbers().find(|number| version_name(*number) == *version),
        }
    }
    /// What is told of a version.
    pub fn metadata(&self, number: u64) -> Option<VersionMetadata> {
        let entry = self.versions.iter().find(|entry| entry.number == number)?;
        let mut told = VersionMetadata::new(version_name(number), entry.created);
        told.stages = self.stages(number);
        told.expires = entry.expires;
        Some(told)
    }

    /// The version that was stored by this token already.
    pub fn by_token(&self, token: Option<&str>) -> Option<u64> {
        let token = token?;
        self.versions.iter().find(|entry| entry.token.as_deref() == Some(token)).map(|entry| entry.number)
    }

    /// Whether what is there is what was expected.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it is not.
    pub fn check(&self, expected: &Expect) -> Result<()> {
        let newest = self.newest().map(|(number, _)| version_name(number));
        let message = match expected {
            Expect::Any => return Ok(()),
            Expect::Absent if newest.is_none() => return Ok(()),
            Expect::Version(version) if newest.as_ref() == Some(version) => return Ok(()),
            Expect::Absent => "there is a credential of that name already",
            Expect::Version(_) => "another version has been stored meanwhile",
        };
        let error = Error::new(ErrorKind::Conflict, message);
        Err(match newest {
            Some(newest) => error.with_context("newest", newest),
            None => error,
        })
    }

    /// Adds a version. Its number, and the versions that are forgotten for it.
    pub fn add(&mut self, new: NewVersion) -> (u64, Vec<u64>) {
        self.last += 1;
        let number = self.last;
        let NewVersion { created, expires, token, stage } = new;
        self.versions.push(Entry { number, created, expires, token });
        self.place(stage, number);
        (number, self.forget())
    }

    /// Gives the stage to that version.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such version, [`ErrorKind::Conflict`] when another version than the
    /// expected one has the stage.
    pub fn move_stage(
        &mut self,
        stage: CredentialStage,
        to: &CredentialVersion,
        expected: Option<&CredentialVersion>,
    ) -> Result<()> {
        let Some(number) = self.find(&Which::Version(to.clone())) else {
            let error = Error::new(ErrorKind::NotFound, "there is no such version of the credential");
            return Err(error.with_context("version", to));
        };
        let has = self.staged(stage).map(version_name);
        // Who repeats a move finds it done.
        if has.as_ref() == Some(to) {
            return Ok(());
        }
        if expected.is_some() && has.as_ref() != expected {
            let message = format!("another version has become the {stage} one meanwhile");
            let error = Error::new(ErrorKind::Conflict, message);
            return Err(match has {
                Some(has) => error.with_context("version", has),
                None => error,
            });
        }
        self.place(stage, number);
        self.forget();
        Ok(())
    }

    fn place(&mut self, stage: CredentialStage, number: u64) {
        let before = self.slot(stage).replace(number);
        if stage == CredentialStage::Current {
            if before.is_some() && before != Some(number) {
                self.previous = before;
            }
            // It waits no more, and is not what was before itself.
            self.pending.take_if(|pending| *pending == number);
            self.previous.take_if(|previous| *previous == number);
        }
    }

    fn forget(&mut self) -> Vec<u64> {
        let staged = [self.pending, self.current, self.previous];
        let bare: Vec<u64> = self.numbers().filter(|number| !staged.contains(&Some(*number))).collect();
        let too_many = bare.len().saturating_sub(Self::KEPT);
        let forgotten: Vec<u64> = bare.into_iter().take(too_many).collect();
        self.versions.retain(|entry| !forgotten.contains(&entry.number));
        forgotten
    }

    /// Forgets a version. Whether it was there.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for the current one, which is in use.
    pub fn remove(&mut self, version: &CredentialVersion) -> Result<Option<u64>> {
        let Some(number) = self.find(&Which::Version(version.clone())) else { return Ok(None) };
        if self.current == Some(number) {
            return Err(Error::new(ErrorKind::Conflict, "the current version is in use")
                .with_context("version", version)
                .with_help("make another the current one first, or delete the credential as a whole"));
        }
        self.versions.retain(|entry| entry.number != number);
        self.pending.take_if(|pending| *pending == number);
        self.previous.take_if(|previous| *previous == number);
        Ok(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CredentialStage::{Current, Pending, Previous};

    fn add(ledger: &mut VersionLedger, stage: CredentialStage) -> u64 {
        let new = NewVersion { stage, ..NewVersion::current(Timestamp::UNIX_EPOCH) };
        ledger.add(new).0
    }

    fn staged(ledger: &VersionLedger) -> [Option<u64>; 3] {
        [Pending, Current, Previous].map(|stage| ledger.staged(stage))
    }

    #[test]
    fn c1_stages_follow_a_rotation() {
        let mut ledger = VersionLedger::default();
        add(&mut ledger, Current);
        assert_eq!(staged(&ledger), [None, Some(1), None]);
        add(&mut ledger, Pending);
        assert_eq!(staged(&ledger), [Some(2), Some(1), None]);
        let (first, second) = (version_name(1), version_name(2));
        ledger.move_stage(Current, &second, Some(&first)).unwrap();
        assert_eq!(staged(&ledger), [None, Some(2), Some(1)]);
        // Once more is nothing; from a version that has it no more is a conflict.
        ledger.move_stage(Current, &second, Some(&first)).unwrap();
        assert_eq!(ledger.move_stage(Current, &first, Some(&first)).unwrap_err().kind(), ErrorKind::Conflict);
        // Back again.
        ledger.move_stage(Current, &first, Some(&second)).unwrap();
        assert_eq!(staged(&ledger), [None, Some(1), Some(2)]);
        assert_eq!(ledger.remove(&first).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(ledger.remove(&second).unwrap(), Some(2));
        assert_eq!(staged(&ledger), [None, Some(1), None]);
        assert_eq!(ledger.remove(&second).unwrap(), None);
    }

    #[test]
    fn c1_what_has_a_stage_is_kept_and_no_number_comes_twice() {
        let mut ledger = VersionLedger::default();
        add(&mut ledger, Pending);
        for _ in 0..VersionLedger::KEPT + 5 {
            add(&mut ledger, Current);
        }
        let numbers: Vec<_> = ledger.numbers().collect();
        assert_eq!(numbers.len(), VersionLedger::KEPT + 3, "and the three with a stage");
        assert_eq!((numbers[0], numbers[1]), (1, 5));
        let next = VersionLedger::after(ledger.last());
        assert_eq!((next.is_empty(), next.last()), (true, 16));
    }

    #[test]
    fn c1_what_was_expected_is_compared_with_the_newest() {
        let mut ledger = VersionLedger::default();
        ledger.check(&Expect::Absent).unwrap();
        assert_eq!(ledger.check(&Expect::Version(version_name(1))).unwrap_err().kind(), ErrorKind::Conflict);
        add(&mut ledger, Current);
        ledger.check(&Expect::Version(version_name(1))).unwrap();
        add(&mut ledger, Pending);
        assert_eq!(ledger.check(&Expect::Version(version_name(1))).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(ledger.check(&Expect::Absent).unwrap_err().kind(), ErrorKind::Conflict);
    }
}
