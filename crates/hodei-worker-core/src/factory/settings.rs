use std::{fmt, future::Future};

use serde::{Serialize, de::DeserializeOwned};

use super::{ConnectContext, Detected, Environment};
use crate::{error::Result, model::ValidationRules, provider::WorkerProvider, settings::Problems};

/// The settings of one provider type, and how a provider is made of them.
///
/// Derive `Serialize` and `Deserialize` with `#[serde(deny_unknown_fields, default)]`; secrets are references.
///
/// # Examples
/// Register a type with [`ProviderFactory::with`](super::ProviderFactory::with); the example `custom_provider`
/// shows a whole one.
pub trait ProviderSettings:
    Serialize + DeserializeOwned + Default + Clone + fmt::Debug + Send + Sync + 'static
{
    /// The type's name in settings.
    const TYPE: &'static str;
    /// What it makes.
    type Provider: WorkerProvider;

    /// Adds what is wrong with the values.
    fn validate(&self, problems: &mut Problems) {
        let _ = problems;
    }

    /// The rules with this type's [`WorkerOptions`](crate::model::WorkerOptions), by
    /// [`with_options`](ValidationRules::with_options). Default: it has none.
    fn rules(rules: ValidationRules) -> ValidationRules {
        rules.without_options(Self::TYPE)
    }

    /// Settings that fit the environment, if this type is to be found there. Looks, and connects to nothing.
    fn detect(environment: &Environment) -> Option<Detected<Self>> {
        let _ = environment;
        None
    }

    /// Connects, finds out what can be done, and returns the provider.
    ///
    /// # Errors
    /// An error that names the field or the endpoint.
    ///
    /// # Cancel safety
    /// It may be dropped at any await, and is when the context's `connect_timeout` is over; nothing may stay behind then.
    fn connect(self, context: ConnectContext) -> impl Future<Output = Result<Self::Provider>> + Send;
}
