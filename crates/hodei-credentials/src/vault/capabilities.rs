use hodei_worker_core::{
    Result,
    credential::{CredentialCapabilities, CredentialCapability},
};

use super::{kv::Config, provider::Inner};

pub(super) const NO_LEASES: &str = "no engine that lends credentials is named by the setting `dynamic`";
const NO_METADATA_CAS: &str = "the server has no check-and-set of metadata, so that two who move stages at once would undo \
                               each other's moves: OpenBao has it from 2.3 on";
const UNKNOWN: &str = "the log-in may not read the mount's `config`, which tells whether the server has check-and-set of metadata";

/// What the mount and its server can do beyond the usual.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features {
    /// `None`: unknown.
    metadata_cas: Option<bool>,
    /// 0: nobody has said.
    pub(super) max_versions: u64,
}

impl Features {
    fn of(config: Option<Config>) -> Self {
        Self {
            metadata_cas: config.map(|config| config.metadata_cas_required.is_some()),
            max_versions: config.map_or(0, |config| config.max_versions),
        }
    }
    fn stages_missing(self) -> Option<&'static str> {
        match self.metadata_cas {
            Some(true) => None,
            Some(false) => Some(NO_METADATA_CAS),
            None => Some(UNKNOWN),
        }
    }
}

impl Inner {
    /// What the mount can do, as it was seen last.
    pub(super) async fn features(&self) -> Result<Features> {
        if let Some(features) = *self.features.read().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Ok(features);
        }
        self.look_at_features().await
    }

    async fn look_at_features(&self) -> Result<Features> {
        let features = Features::of(self.kv().config().await?);
        *self.features.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(features);
        Ok(features)
    }

    /// Why there are no stages, where there are none.
    pub(super) async fn stages_missing(&self) -> Result<Option<&'static str>> {
        Ok(self.features().await?.stages_missing())
    }

    /// What the server can do, looked at anew.
    pub(super) async fn capabilities(&self) -> Result<CredentialCapabilities> {
        use CredentialCapability as C;
        let health = self.session.cluster.version().await?;
        let features = self.look_at_features().await?;
        let mut all = CredentialCapabilities::new(health.version)
            .with([
                C::Store,
                C::Versions,
                C::CompareAndSet,
                C::Tokens,
                C::DeleteVersion,
                C::Binary,
                C::Expiry,
                C::List,
            ])
            .without(C::Watch, "the server tells nobody of changes")
            .without(C::Rotation, "the key-value engine makes no secrets; the rotation engine does");
        all = match features.stages_missing() {
            None => all.with([C::Stages]),
            Some(why) => all.without(C::Stages, why),
        };
        Ok(match self.settings.dynamic.is_empty() {
            false => all.with([C::Leases]),
            true => all.without(C::Leases, NO_LEASES),
        })
    }
}
