//! Reading credentials, their versions and their stages.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp,
    credential::{
        Credential, CredentialMetadata, CredentialStage, CredentialVersion, RetrieveOptions, SecretKey,
        VersionMetadata, Which, not_found,
    },
};

use super::{
    cluster::Route,
    kv::{Metadata, Version},
    provider::Inner,
    stages::Stages,
};

/// Requests at once of one listing.
const AT_ONCE: usize = 16;

/// The name of the version of that number.
pub(super) fn name(number: u64) -> CredentialVersion {
    CredentialVersion::new(number.to_string())
}

/// The number of the version of that name.
pub(super) fn number(version: &CredentialVersion) -> Option<u64> {
    let number: u64 = version.as_str().parse().ok()?;
    (number > 0 && name(number) == *version).then_some(number)
}

impl Inner {
    /// Reads the version that is meant.
    pub(super) async fn retrieve(&self, key: &SecretKey, options: &RetrieveOptions) -> Result<Credential> {
        match &options.which {
            Which::Stage(CredentialStage::Current) => self.current(key).await,
            Which::Stage(stage) => {
                self.require_stages().await?;
                let (_, stages) =
                    self.staged(key, Route::Any).await?.ok_or_else(|| not_found(&options.which))?;
                let number = stages.staged(*stage).ok_or_else(|| not_found(&options.which))?;
                self.version(key, number, &stages, &options.which).await
            }
            Which::Version(version) => {
                let missing = || not_found(&options.which);
                let number = number(version).ok_or_else(missing)?;
                let (_, stages) = self.staged(key, Route::Any).await?.ok_or_else(missing)?;
                self.version(key, number, &stages, &options.which).await
            }
            _ => Err(Error::new(ErrorKind::Unsupported, "this store knows stages and versions alone")),
        }
    }

    /// The current version, in one request where nothing was moved.
    async fn current(&self, key: &SecretKey) -> Result<Credential> {
        let missing = || not_found(&Which::default());
        let newest = self.newest(key).await?.ok_or_else(missing)?;
        let number = match Stages::of(newest.custom()) {
            None => newest.number(),
            Some(stages) if newest.number() <= stages.upto => {
                stages.staged(CredentialStage::Current).ok_or_else(missing)?
            }
            Some(_)
                if newest
                    .fields
                    .as_ref()
                    .is_some_and(|fields| fields.note().born() == CredentialStage::Current) =>
            {
                newest.number()
            }
            Some(stages) => {
                let later: Vec<u64> = (stages.upto + 1..=newest.number()).collect();
                let stages = self.count_in(key, stages, &later, Route::Any).await?;
                stages.staged(CredentialStage::Current).ok_or_else(missing)?
            }
        };
        let mut credential = match number == newest.number() {
            true => self.credential(newest)?,
            false => {
                let version = self.kv().read(key, Some(number), Route::Any).await?.ok_or_else(missing)?.0;
                self.credential(version)?
            }
        }
        .ok_or_else(missing)?;
        credential.stages = vec![CredentialStage::Current];
        Ok(credential)
    }

    /// The newest version; not one from before what we have written ourselves, which a standby may have still.
    async fn newest(&self, key: &SecretKey) -> Result<Option<Version>> {
        let read = self.kv().read(key, None, Route::Any).await?;
        let number = read.as_ref().map_or(0, |(version, _)| version.number());
        match &read {
            Some((_, true)) => {}
            _ if self.written.knows_later(key, number) => {
                let read = self.kv().read(key, None, Route::Repeatable).await?;
                return Ok(read.map(|(version, _)| version));
            }
            _ => {}
        }
        Ok(read.map(|(version, _)| version))
    }

    async fn version(
        &self,
        key: &SecretKey,
        number: u64,
        stages: &Stages,
        which: &Which,
    ) -> Result<Credential> {
        let read = self.kv().read(key, Some(number), Route::Any).await?;
        let (version, _) = read.ok_or_else(|| not_found(which))?;
        let mut credential = self.credential(version)?.ok_or_else(|| not_found(which))?;
        credential.stages = stages.of_version(number);
        Ok(credential)
    }

    fn credential(&self, version: Version) -> Result<Option<Credential>> {
        let (number, ends) = (version.number(), version.ends());
        let Some(fields) = version.fields else { return Ok(None) };
        let note = fields.note();
        let mut credential = Credential::new(fields.into_content(&note)?, name(number));
        // What the engine deletes is no longer good either.
        credential.expires = [note.expires, ends].into_iter().flatten().min();
        Ok(Some(credential))
    }

    /// The metadata of a credential and the stages of its versions. `None` where there is no version to be read.
    pub(super) async fn staged(&self, key: &SecretKey, route: Route) -> Result<Option<(Metadata, Stages)>> {
        let Some(metadata) = self.kv().metadata(key, route).await? else { return Ok(None) };
        let alive: Vec<u64> =
            metadata.alive(self.clock.now()).into_iter().map(|(number, _)| number).collect();
        if alive.is_empty() {
            return Ok(None);
        }
        let stages = match Stages::of(metadata.custom_metadata.as_ref()) {
            None => Stages::plain(&alive),
            Some(stages) => {
                let later: Vec<u64> = (stages.upto + 1..=metadata.current_version).collect();
                self.count_in(key, stages, &later, route).await?
            }
        };
        Ok(Some((metadata, stages)))
    }

    /// Counts in the versions since the last move. One that can be read no more is taken for one that was in use.
    async fn count_in(
        &self,
        key: &SecretKey,
        mut stages: Stages,
        later: &[u64],
        route: Route,
    ) -> Result<Stages> {
        let births = stream::iter(later.to_vec()).map(|number| async move {
            let read = self.kv().read(key, Some(number), route).await?;
            let note = read.and_then(|(version, _)| version.fields).map(|fields| fields.note());
            Ok::<_, Error>((number, note.map_or(CredentialStage::Current, |note| note.born())))
        });
        let births: Vec<_> = births.buffered(AT_ONCE).try_collect().await?;
        for (number, stage) in births {
            stages.born(number, stage);
        }
        Ok(stages)
    }

    /// The versions, the oldest first.
    pub(super) async fn versions(&self, key: &SecretKey) -> Result<Vec<VersionMetadata>> {
        let Some((metadata, stages)) = self.staged(key, Route::Any).await? else { return Ok(Vec::new()) };
        let alive = metadata.alive(self.clock.now());
        // Who expires says so in itself, where that is not known to be nobody.
        let some_expire = stages.expiring || metadata.current_metadata_version.is_none();
        let told = stream::iter(alive).map(|(number, created)| {
            let stages = &stages;
            async move {
                let mut told = VersionMetadata::new(name(number), created);
                told.stages = stages.of_version(number);
                if some_expire {
                    told.expires = self.expiry(key, number).await?;
                }
                Ok::<_, Error>(told)
            }
        });
        told.buffered(AT_ONCE).try_collect().await
    }

    async fn expiry(&self, key: &SecretKey, number: u64) -> Result<Option<Timestamp>> {
        let read = self.kv().read(key, Some(number), Route::Any).await?;
        Ok(read.and_then(|(version, _)| version.fields).and_then(|fields| fields.note().expires))
    }

    /// The credentials whose keys begin with `prefix`, in order.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<CredentialMetadata>> {
        let folder = prefix.rfind('/').map_or("", |end| &prefix[..=end]);
        let mut found = match self.kv().scan(folder).await? {
            Some(all) => all
                .into_iter()
                .filter_map(|(name, metadata)| self.told(format!("{folder}{name}"), prefix, &metadata))
                .collect(),
            None => self.walk(folder, prefix).await?,
        };
        found.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    /// The same by one request for each folder and each secret.
    async fn walk(&self, folder: &str, prefix: &str) -> Result<Vec<CredentialMetadata>> {
        let (mut open, mut names) = (vec![folder.to_owned()], Vec::new());
        while !open.is_empty() {
            let listed = stream::iter(std::mem::take(&mut open)).map(|folder| async move {
                let listed = self.kv().list(&folder).await?;
                Ok::<_, Error>(
                    listed.into_iter().map(move |name| format!("{folder}{name}")).collect::<Vec<_>>(),
                )
            });
            let listed: Vec<Vec<String>> = listed.buffer_unordered(AT_ONCE).try_collect().await?;
            let matching = listed.into_iter().flatten().filter(|name| name.starts_with(prefix));
            let (folders, secrets): (Vec<_>, Vec<_>) = matching.partition(|name| name.ends_with('/'));
            open = folders;
            names.extend(secrets);
        }
        let told = stream::iter(names).map(|name| async move {
            let metadata = self.kv().metadata_of(&name, Route::Any).await?;
            Ok::<_, Error>(metadata.and_then(|metadata| self.told(name, prefix, &metadata)))
        });
        let told: Vec<_> = told.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(told.into_iter().flatten().collect())
    }

    /// What is told of one; nothing of a name that is no key of ours, or of a secret that was deleted.
    fn told(&self, name_of_it: String, prefix: &str, metadata: &Metadata) -> Option<CredentialMetadata> {
        if !name_of_it.starts_with(prefix) {
            return None;
        }
        let key = SecretKey::new(name_of_it).ok()?;
        let (newest, updated) = metadata.newest(self.clock.now())?;
        Some(CredentialMetadata::new(key, name(newest), updated))
    }

    /// Refuses where stages cannot be kept safely.
    pub(super) async fn require_stages(&self) -> Result<()> {
        match self.stages_missing().await? {
            None => Ok(()),
            Some(why) => {
                Err(Error::new(ErrorKind::Unsupported, "the store cannot do `stages`")
                    .with_context("why", why))
            }
        }
    }
}
