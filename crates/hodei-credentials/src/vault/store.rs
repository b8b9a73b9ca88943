//! Storing versions, moving stages, deleting.

use hodei_worker_core::{
    Error, ErrorKind, Result, Retry,
    credential::{
        CredentialContent, CredentialStage, CredentialVersion, DeleteCredentialOptions, Expect,
        MoveStageOptions, SecretKey, StoreOptions, Which, check_content, not_found, token_is_taken,
    },
};

use super::{
    cluster::Route,
    error::refused,
    kv::{Metadata, Written},
    provider::Inner,
    read::{name, number},
    record::{NOTE, Note, Outgoing},
    stages::{ENTRY, Stages},
};

/// How often a write begins anew since somebody else was faster.
const TRIES: u32 = 64;
/// How many versions the engine keeps where nobody has said otherwise.
const KEPT: u64 = 10;

impl Inner {
    /// Stores a version.
    ///
    /// Each write says on top of which version it goes, and carries a word of its own. So it can be repeated when nobody
    /// knows what has become of it: it is there already, or somebody else's is, or it is written now.
    pub(super) async fn store(
        &self,
        key: &SecretKey,
        content: &CredentialContent,
        options: &StoreOptions,
    ) -> Result<CredentialVersion> {
        check_content(content)?;
        if content.part(NOTE).is_some() {
            return Err(Error::config(NOTE, "is no name for a part: this store keeps its own there"));
        }
        if options.stage != CredentialStage::Current {
            self.require_stages().await?;
        }
        let note = Note {
            kind: Some(content.kind()),
            id: options.token.clone().unwrap_or_else(|| format!("~{:032x}", fastrand::u128(..))),
            stage: (options.stage != CredentialStage::Current).then_some(options.stage),
            expires: options.expires,
            encoded: Outgoing::binary(content),
        };
        let data = Outgoing { content, note: &note };
        let mut open = None;
        let stored = self.store_as(key, &data, options, &mut open).await;
        match (stored, open) {
            // What came after it says nothing of what may have been stored.
            (Err(error), Some(open)) if error.kind() != ErrorKind::Conflict => Err(open.with_source(error)),
            (stored, _) => stored,
        }
    }

    /// `open`: the error of a write of which nobody knows what has become of it.
    async fn store_as(
        &self,
        key: &SecretKey,
        data: &Outgoing<'_>,
        options: &StoreOptions,
        open: &mut Option<Error>,
    ) -> Result<CredentialVersion> {
        let Outgoing { content, note } = data;
        for _ in 0..TRIES {
            let metadata = self.kv().metadata(key, Route::Repeatable).await?;
            if (options.token.is_some() || open.is_some())
                && let Some(number) = self.by_id(key, metadata.as_ref(), content, &note.id).await?
            {
                self.written.note(key, number);
                return Ok(name(number));
            }
            self.check(metadata.as_ref(), &options.expected)?;
            let newest = metadata.as_ref().map_or(0, |metadata| metadata.current_version);
            if options.stage != CredentialStage::Current || options.expires.is_some() {
                match self.prepare(key, metadata.as_ref(), options).await? {
                    Prepared::Ready => {}
                    Prepared::Again => continue,
                }
            }
            match self.kv().write(key, data, newest).await? {
                Written::Done(number) => {
                    self.written.note(key, number);
                    return Ok(name(number));
                }
                Written::Refused(answer, request) => {
                    let now = self.kv().metadata(key, Route::Repeatable).await?;
                    if now.map_or(0, |now| now.current_version) == newest {
                        return Err(refused(&answer, &request));
                    }
                }
                Written::Unknown(error) => {
                    tracing::debug!(%key, "nobody knows whether a credential was stored: looking");
                    *open = Some(error.with_retry(Retry::IfIdempotent));
                }
            }
        }
        Err(too_many_others())
    }

    /// The version that was stored by this word already.
    async fn by_id(
        &self,
        key: &SecretKey,
        metadata: Option<&Metadata>,
        content: &CredentialContent,
        id: &str,
    ) -> Result<Option<u64>> {
        let Some(metadata) = metadata else { return Ok(None) };
        for (number, _) in metadata.alive(self.clock.now()).into_iter().rev() {
            let read = self.kv().read(key, Some(number), Route::Repeatable).await?;
            let Some(fields) = read.and_then(|(version, _)| version.fields) else { continue };
            let note = fields.note();
            if note.id == id {
                return match fields.into_content(&note)?.is_same(content) {
                    true => Ok(Some(number)),
                    false => Err(token_is_taken()),
                };
            }
        }
        Ok(None)
    }

    fn check(&self, metadata: Option<&Metadata>, expected: &Expect) -> Result<()> {
        let newest =
            metadata.and_then(|metadata| metadata.newest(self.clock.now())).map(|(newest, _)| newest);
        let message = match expected {
            Expect::Absent if newest.is_some() => "there is a credential of that name already",
            Expect::Version(version) if newest.map(name).as_ref() != Some(version) => {
                "another version has been stored meanwhile"
            }
            _ => return Ok(()),
        };
        let error = Error::new(ErrorKind::Conflict, message);
        Err(match newest {
            Some(newest) => error.with_context("newest", newest),
            None => error,
        })
    }

    /// Before the first version that waits or expires, the metadata says that there are such.
    async fn prepare(
        &self,
        key: &SecretKey,
        metadata: Option<&Metadata>,
        options: &StoreOptions,
    ) -> Result<Prepared> {
        if options.stage == CredentialStage::Current && self.stages_missing().await?.is_some() {
            // Listings look at each version then.
            return Ok(Prepared::Ready);
        }
        let known = metadata.and_then(|metadata| Stages::of(metadata.custom_metadata.as_ref()));
        if known.as_ref().is_some_and(|known| known.expiring || options.expires.is_none()) {
            self.check_room(key, metadata, options).await?;
            return Ok(Prepared::Ready);
        }
        let mut stages = match self.staged(key, Route::Repeatable).await? {
            Some((_, stages)) => stages,
            None => Stages::none(metadata.map_or(0, |metadata| metadata.current_version)),
        };
        stages.expiring |= options.expires.is_some();
        self.check_room(key, metadata, options).await?;
        match self.write_stages(key, metadata, &stages).await? {
            // Seen to be there in the next round; the write goes on top of what was seen before.
            true => Ok(Prepared::Ready),
            false => Ok(Prepared::Again),
        }
    }

    /// The engine forgets old versions, the current one too. Refuses what would make it do that.
    async fn check_room(
        &self,
        key: &SecretKey,
        metadata: Option<&Metadata>,
        options: &StoreOptions,
    ) -> Result<()> {
        let Some(metadata) = metadata.filter(|_| options.stage != CredentialStage::Current) else {
            return Ok(());
        };
        let kept = match (metadata.max_versions, self.features().await?.max_versions) {
            (0, 0) => KEPT,
            (0, of_the_mount) => of_the_mount,
            (of_the_secret, _) => of_the_secret,
        };
        let Some((_, stages)) = self.staged(key, Route::Repeatable).await? else { return Ok(()) };
        match stages.staged(CredentialStage::Current) {
            Some(current) if current + kept <= metadata.current_version + 1 => {
                let message = "one more version that waits would have the engine forget the current one";
                Err(Error::new(ErrorKind::Conflict, message)
                    .with_context("current", current)
                    .with_help("make a newer version the current one, or raise the secret's `max_versions`"))
            }
            _ => Ok(()),
        }
    }

    /// Writes the stages on top of what was seen. False: somebody else was faster, or nobody knows.
    async fn write_stages(
        &self,
        key: &SecretKey,
        metadata: Option<&Metadata>,
        stages: &Stages,
    ) -> Result<bool> {
        let mut custom = metadata.and_then(|metadata| metadata.custom_metadata.clone()).unwrap_or_default();
        let entry = serde_json::to_string(stages).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "stages cannot be written").with_source(error)
        })?;
        custom.insert(ENTRY.to_owned(), entry);
        let cas = match metadata {
            None => 0,
            Some(metadata) => metadata.current_metadata_version.ok_or_else(|| {
                Error::new(ErrorKind::Unsupported, "the server has no check-and-set of metadata")
            })?,
        };
        match self.kv().write_custom(key, &custom, cas).await? {
            Written::Done(_) => Ok(true),
            Written::Unknown(_) => Ok(false),
            Written::Refused(answer, request) => {
                let now = self.kv().metadata(key, Route::Repeatable).await?;
                let now = now.and_then(|now| now.current_metadata_version).unwrap_or(0);
                if now == cas { Err(refused(&answer, &request)) } else { Ok(false) }
            }
        }
    }

    /// Gives a stage to a version.
    pub(super) async fn place(
        &self,
        key: &SecretKey,
        stage: CredentialStage,
        to: &CredentialVersion,
        options: &MoveStageOptions,
    ) -> Result<()> {
        self.require_stages().await?;
        let missing = || not_found(&Which::Version(to.clone()));
        let wanted = number(to).ok_or_else(missing)?;
        for _ in 0..TRIES {
            let (metadata, mut stages) = self.staged(key, Route::Repeatable).await?.ok_or_else(missing)?;
            if !metadata.alive(self.clock.now()).iter().any(|(number, _)| *number == wanted) {
                return Err(missing());
            }
            let has = stages.staged(stage);
            // Who repeats a move finds it done.
            if has == Some(wanted) {
                return Ok(());
            }
            if options.from.is_some() && has.map(name) != options.from {
                let message = format!("another version has become the {stage} one meanwhile");
                let error = Error::new(ErrorKind::Conflict, message);
                return Err(match has {
                    Some(has) => error.with_context("version", has),
                    None => error,
                });
            }
            stages.place(stage, wanted);
            if self.write_stages(key, Some(&metadata), &stages).await? {
                return Ok(());
            }
        }
        Err(too_many_others())
    }

    /// Deletes a credential, or one of its versions.
    pub(super) async fn delete(&self, key: &SecretKey, options: &DeleteCredentialOptions) -> Result<()> {
        let Some(version) = &options.version else {
            self.kv().delete(key).await?;
            self.written.forget(key);
            return Ok(());
        };
        let Some(number) = number(version) else { return Ok(()) };
        for _ in 0..TRIES {
            let Some((metadata, mut stages)) = self.staged(key, Route::Repeatable).await? else {
                return Ok(());
            };
            if stages.staged(CredentialStage::Current) == Some(number) {
                return Err(Error::new(ErrorKind::Conflict, "the current version is in use")
                    .with_context("version", version)
                    .with_help("make another the current one first, or delete the credential as a whole"));
            }
            if !metadata.alive(self.clock.now()).iter().any(|(alive, _)| *alive == number) {
                return Ok(());
            }
            // What a version says of its birth cannot be read when it is gone.
            if Stages::of(metadata.custom_metadata.as_ref()).is_some() {
                stages.forget(number);
                if !self.write_stages(key, Some(&metadata), &stages).await? {
                    continue;
                }
            }
            return self.kv().destroy(key, number).await;
        }
        Err(too_many_others())
    }
}

enum Prepared {
    Ready,
    /// What was seen is old.
    Again,
}

fn too_many_others() -> Error {
    Error::new(ErrorKind::Overloaded, "others write to this credential all the time")
        .with_retry(Retry::Safe { after: None })
}
