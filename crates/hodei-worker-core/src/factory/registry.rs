use std::{collections::BTreeMap, fmt, marker::PhantomData, sync::Arc};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    Candidate, ConnectContext, Detection, Environment, InitProgress, InitReporter, ProviderConfig,
    ProviderHandle, ProviderSettings, ProviderState, handle,
};
use crate::{
    capability::Capability,
    error::{Error, ErrorKind, Result},
    model::WorkerRequirements,
    provider::{Operation, WorkerProvider},
    settings::{nearest, read_validated},
};

/// The provider types that a host knows, as a value: no global, no registration before `main`.
///
/// # Examples
/// ```
/// use hodei_worker_core::ProviderFactory;
/// # use hodei_worker_core::testkit::FakeSettings;
/// let factory = ProviderFactory::default().with::<FakeSettings>();
/// assert_eq!(factory.types().collect::<Vec<_>>(), ["fake"]);
/// ```
#[derive(Default, Clone)]
pub struct ProviderFactory {
    types: BTreeMap<&'static str, Arc<dyn ErasedType>>,
}

impl ProviderFactory {
    /// Knows one type more. A later one of the same name replaces it.
    #[must_use]
    pub fn with<S: ProviderSettings>(mut self) -> Self {
        self.types.insert(S::TYPE, Arc::new(Typed::<S>(PhantomData)));
        self
    }

    /// The names of the types.
    pub fn types(&self) -> impl Iterator<Item = &'static str> {
        self.types.keys().copied()
    }

    /// Begins to build a provider and returns at once; the handle tells when it is ready. The type named in the
    /// configuration wins; without one, what fits its `settings` or else the environment is taken.
    ///
    /// Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the type is unknown (naming what exists) or the settings are wrong (naming each
    /// field). A provider that cannot be reached is not an error here but the handle's state.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{ConnectContext, ProviderConfig, ProviderFactory, Result};
    /// # async fn example(factory: ProviderFactory, context: ConnectContext) -> Result<()> {
    /// let handle = factory.create_provider(&ProviderConfig::new(context.name.clone(), "process"), &context)?;
    /// let provider = handle.ready().await?;
    /// # Ok(()) }
    /// ```
    pub fn create_provider(
        &self,
        config: &ProviderConfig,
        context: &ConnectContext,
    ) -> Result<ProviderHandle> {
        let (name, settings) = match &config.provider_type {
            Some(name) => (name.as_str(), config.settings.clone()),
            None if config.settings.is_null() => {
                let chosen = self
                    .detect_best_provider(&WorkerRequirements::default(), &Environment::current())?
                    .chosen;
                (chosen.provider_type, chosen.settings)
            }
            None => (self.type_of_settings(&config.settings)?, config.settings.clone()),
        };
        let erased = Arc::clone(self.find(name)?);
        let connect = erased.check(settings)?;
        let mut context = context.clone();
        context.name = config.name.clone();
        let (state, _) = watch::channel(ProviderState::Initializing(InitProgress::new("connecting", 0)));
        context.progress = InitReporter::new(state.clone());
        Ok(handle::spawn(context.info(erased.name()), state, connect, context))
    }

    /// Checks a configuration as [`create_provider`](Self::create_provider) does, and builds nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with all that is wrong.
    pub fn validate(&self, config: &ProviderConfig) -> Result<()> {
        match &config.provider_type {
            Some(name) => self.find(name)?.check(config.settings.clone()).map(|_| ()),
            None if config.settings.is_null() => Ok(()),
            None => self.type_of_settings(&config.settings).map(|_| ()),
        }
    }

    /// All types that fit the environment, the best first, those that are only listed last.
    pub fn candidates(&self, environment: &Environment) -> Vec<Candidate> {
        let mut found: Vec<Candidate> =
            self.types.values().filter_map(|erased| erased.detect(environment)).collect();
        found.sort_by_key(|candidate| (!candidate.selectable, -candidate.priority));
        found
    }

    /// Chooses among what fits the environment, and says why. Clouds are candidates but never chosen by
    /// themselves.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when nothing that may be chosen fits.
    pub fn detect_best_provider(
        &self,
        requirements: &WorkerRequirements,
        environment: &Environment,
    ) -> Result<Detection> {
        let candidates = self.candidates(environment);
        let images = requirements.capabilities.contains(&Capability::Images);
        let fits = |candidate: &&Candidate| {
            candidate.selectable && !(images && candidate.provider_type == "process")
        };
        if let Some(chosen) = candidates.iter().find(fits).cloned() {
            return Ok(Detection { chosen, candidates });
        }
        let listed: Vec<&str> = candidates.iter().map(|candidate| candidate.provider_type).collect();
        let error = Error::new(ErrorKind::Config, "no provider was found here that may be chosen by itself");
        let error = error.with_operation(Operation::Connect).with_help("name one with `type`");
        let error = error.with_context("known", self.types().collect::<Vec<_>>().join(", "));
        Err(if listed.is_empty() { error } else { error.with_context("candidates", listed.join(", ")) })
    }

    fn find(&self, name: &str) -> Result<&Arc<dyn ErasedType>> {
        self.types.get(name).ok_or_else(|| {
            let known = self.types().collect::<Vec<_>>().join("`, `");
            let error =
                Error::config("type", format!("there is no provider type `{name}` here, only `{known}`"));
            match nearest(name, self.types()) {
                Some(near) => error.with_help(format!("did you mean `{near}`?")),
                None => error.with_help("a feature of the crate may be switched off"),
            }
        })
    }

    /// The one type whose settings these are.
    fn type_of_settings(&self, settings: &Value) -> Result<&'static str> {
        let fitting: Vec<_> =
            self.types.values().filter(|erased| erased.check(settings.clone()).is_ok()).collect();
        match fitting.as_slice() {
            [only] => Ok(only.name()),
            several => {
                let names: Vec<_> = several.iter().map(|erased| erased.name()).collect();
                let message = match names.as_slice() {
                    [] => "no provider type has settings like these".to_owned(),
                    names => format!("these settings fit more than one provider type: {}", names.join(", ")),
                };
                Err(Error::config("type", message).with_help("name one with `type`"))
            }
        }
    }
}

impl fmt::Debug for ProviderFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.types.keys()).finish()
    }
}

/// Checked settings, ready to connect.
#[async_trait]
pub(super) trait Connect: Send + Sync {
    async fn connect(&self, context: ConnectContext) -> Result<Arc<dyn WorkerProvider>>;
}

trait ErasedType: Send + Sync {
    fn name(&self) -> &'static str;
    fn check(&self, settings: Value) -> Result<Box<dyn Connect>>;
    fn detect(&self, environment: &Environment) -> Option<Candidate>;
}

struct Typed<S>(PhantomData<fn() -> S>);
struct Checked<S>(S);

impl<S: ProviderSettings> ErasedType for Typed<S> {
    fn name(&self) -> &'static str {
        S::TYPE
    }
    fn check(&self, settings: Value) -> Result<Box<dyn Connect>> {
        let settings = if settings.is_null() { Value::Object(serde_json::Map::new()) } else { settings };
        let checked = read_validated::<S>(&settings, |settings, problems| settings.validate(problems));
        checked
            .map(|settings| Box::new(Checked(settings)) as Box<dyn Connect>)
            .map_err(|error| error.with_context("type", S::TYPE))
    }
    fn detect(&self, environment: &Environment) -> Option<Candidate> {
        let found = S::detect(environment)?;
        Some(Candidate {
            provider_type: S::TYPE,
            settings: serde_json::to_value(&found.settings).ok()?,
            reason: found.reason,
            selectable: found.selectable,
            priority: found.priority,
        })
    }
}

#[async_trait]
impl<S: ProviderSettings> Connect for Checked<S> {
    async fn connect(&self, context: ConnectContext) -> Result<Arc<dyn WorkerProvider>> {
        Ok(Arc::new(self.0.clone().connect(context).await?))
    }
}
