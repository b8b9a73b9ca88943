use serde::{Deserialize, Serialize};

use super::{FakePlatform, FakeProvider};
use crate::{
    error::{Error, ErrorKind, Result},
    factory::{ConnectContext, Detected, Environment, ProviderSettings},
    quantity::HumanDuration,
    settings::Problems,
};

/// Settings of a fake on a platform of its own, for tests of factories.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FakeSettings {
    /// Time that connecting takes.
    pub connect_delay: HumanDuration,
    /// Why connecting fails, if it does.
    pub connect_error: Option<String>,
    /// Why it is degraded, if it is.
    pub degraded: Option<String>,
}

impl ProviderSettings for FakeSettings {
    const TYPE: &'static str = "fake";
    type Provider = FakeProvider;

    fn validate(&self, problems: &mut Problems) {
        problems.require(self.connect_error.as_deref() != Some(""), "connect_error", "must say something");
    }

    fn detect(environment: &Environment) -> Option<Detected<Self>> {
        environment.var("HODEI_FAKE").map(|_| Detected::new(Self::default(), "HODEI_FAKE is set"))
    }

    async fn connect(self, context: ConnectContext) -> Result<FakeProvider> {
        context.progress.report("waiting", 50);
        tokio::time::sleep(self.connect_delay.get()).await;
        match self.connect_error {
            Some(reason) => Err(Error::new(ErrorKind::Unavailable, reason)),
            None => Ok(FakeProvider::new(FakePlatform::new(), context).degraded(self.degraded)),
        }
    }
}
