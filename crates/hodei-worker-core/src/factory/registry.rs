use std::{cmp::Reverse, collections::BTreeMap, fmt, marker::PhantomData, sync::Arc};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    Candidate, ConnectContext, Detection, Environment, InitProgress, InitReporter, ProviderConfig,
    ProviderHandle, ProviderSettings, ProviderState, fields::fields_of, handle,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{ValidationRules, WorkerRequirements},
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

    /// Rules of validation that know the options of all its types: with them a configuration that is read from data has
    /// its options checked with everything else, and a misspelt provider is refused.
    pub fn rules(&self) -> ValidationRules {
        self.types.values().fold(ValidationRules::default(), |rules, erased| erased.rules(rules))
    }

    /// Begins to build a provider and returns at once; the handle tells when it is ready. The type named in the
    /// configuration wins; without one, what fits its `settings` is taken; without any settings, what fits this
    /// process's environment, and [`ProviderHandle::detection`] says why.
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
        self.create_provider_in(config, context, &Environment::current())
    }

    /// As [`create_provider`](Self::create_provider), detecting in this environment.
    ///
    /// # Errors
    /// As [`create_provider`](Self::create_provider).
    pub fn create_provider_in(
        &self,
        config: &ProviderConfig,
        context: &ConnectContext,
        environment: &Environment,
    ) -> Result<ProviderHandle> {
        let Resolved { name, connect, detection } = self.resolve(config, environment)?;
        let mut context = context.clone();
        context.name = config.name.clone();
        let (state, _) = watch::channel(ProviderState::Initializing(InitProgress::new("connecting", 0)));
        context.progress = InitReporter::new(state.clone());
        Ok(handle::spawn(context.info(name), state, connect, context, detection))
    }

    /// Checks a configuration as [`create_provider`](Self::create_provider) does, detection included, and builds
    /// nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with all that is wrong.
    pub fn validate(&self, config: &ProviderConfig) -> Result<()> {
        self.validate_in(config, &Environment::current())
    }

    /// As [`validate`](Self::validate), detecting in this environment.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn validate_in(&self, config: &ProviderConfig, environment: &Environment) -> Result<()> {
        self.resolve(config, environment).map(|_| ())
    }

    fn resolve(&self, config: &ProviderConfig, environment: &Environment) -> Result<Resolved> {
        if let Some(name) = &config.provider_type {
            let erased = self.find(name)?;
            let connect = erased.check(&config.settings)?;
            return Ok(Resolved { name: erased.name(), connect, detection: None });
        }
        let none = config.settings.as_object().is_some_and(serde_json::Map::is_empty);
        if !none && !config.settings.is_null() {
            return self.by_settings(&config.settings);
        }
        let detection = self.detect_best_provider(&WorkerRequirements::default(), environment)?;
        let chosen = &detection.chosen;
        let connect = self.find(chosen.provider_type)?.check(&chosen.settings);
        let connect = connect.map_err(|error| error.with_context("detected, as", &chosen.reason))?;
        Ok(Resolved { name: chosen.provider_type, connect, detection: Some(detection) })
    }

    /// All types that fit the environment, the best first, those that are only listed last.
    pub fn candidates(&self, environment: &Environment) -> Vec<Candidate> {
        let mut found: Vec<Candidate> =
            self.types.values().filter_map(|erased| erased.detect(environment)).collect();
        found.sort_by_key(|candidate| (!candidate.selectable, Reverse(candidate.priority)));
        found
    }

    /// Chooses among what fits the environment and is not known to lack what is required, and says why. Clouds are
    /// candidates but never chosen by themselves.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when nothing that may be chosen fits, with the reason for each candidate.
    pub fn detect_best_provider(
        &self,
        requirements: &WorkerRequirements,
        environment: &Environment,
    ) -> Result<Detection> {
        let candidates = self.candidates(environment);
        let mut refused = Vec::new();
        for candidate in &candidates {
            match candidate.unfit_reason(requirements) {
                None => return Ok(Detection { chosen: candidate.clone(), candidates }),
                Some(reason) => refused.push(format!("{}: {reason}", candidate.provider_type)),
            }
        }
        let error = Error::new(ErrorKind::Config, "no provider was found here that may be chosen by itself");
        let error = error.with_operation(Operation::Connect).with_help("name one with `type`");
        let error = error.with_context("known", self.types().collect::<Vec<_>>().join(", "));
        Err(if refused.is_empty() { error } else { error.with_context("candidates", refused.join("; ")) })
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
    fn by_settings(&self, settings: &Value) -> Result<Resolved> {
        let mut fitting = Vec::new();
        let mut wrong = Vec::new();
        for erased in self.types.values() {
            match erased.check(settings) {
                Ok(connect) => fitting.push(Resolved { name: erased.name(), connect, detection: None }),
                Err(error) => {
                    let problems = error.problems().map_or(1, |problems| problems.len());
                    wrong.push(((foreign(settings, erased.fields()), problems), erased.name(), error));
                }
            }
        }
        if fitting.len() > 1 {
            let names: Vec<_> = fitting.iter().map(|resolved| resolved.name).collect();
            let message = format!("these settings fit more than one provider type: {}", names.join(", "));
            return Err(Error::config("type", message).with_help("name one with `type`"));
        }
        if let Some(only) = fitting.pop() {
            return Ok(only);
        }
        let best = wrong.iter().map(|(distance, ..)| *distance).min();
        wrong.retain(|(distance, ..)| Some(*distance) == best);
        match wrong.as_slice() {
            [(_, name, error)] => Err(error.clone().with_help(format!(
                "of all provider types, `{name}` has the settings that are most like these; if another is meant, name it with `type`"
            ))),
            several => {
                let error = Error::config("type", "no provider type has settings like these");
                let error = several.iter().fold(error, |error, (_, name, wrong)| {
                    error.with_context(format!("as `{name}`"), wrong.message())
                });
                Err(error.with_help("name one with `type`"))
            }
        }
    }
}

/// What is to be connected, and why.
struct Resolved {
    name: &'static str,
    connect: Box<dyn Connect>,
    detection: Option<Detection>,
}

/// How many of the settings are no fields, not even misspelt ones, of a type that has these.
fn foreign(settings: &Value, fields: &[&str]) -> usize {
    let known = |name: &&String| nearest(name, fields.iter().copied()).is_some();
    settings.as_object().map_or(0, |settings| settings.len() - settings.keys().filter(known).count())
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
    /// The names of its settings.
    fn fields(&self) -> &'static [&'static str];
    fn check(&self, settings: &Value) -> Result<Box<dyn Connect>>;
    fn rules(&self, rules: ValidationRules) -> ValidationRules;
    fn detect(&self, environment: &Environment) -> Option<Candidate>;
}

struct Typed<S>(PhantomData<fn() -> S>);
struct Checked<S>(S);

impl<S: ProviderSettings> ErasedType for Typed<S> {
    fn name(&self) -> &'static str {
        S::TYPE
    }
    fn fields(&self) -> &'static [&'static str] {
        fields_of::<S>()
    }
    fn check(&self, settings: &Value) -> Result<Box<dyn Connect>> {
        let none = Value::Object(serde_json::Map::new());
        let settings = if settings.is_null() { &none } else { settings };
        let checked = read_validated::<S>(settings, |settings, problems| settings.validate(problems));
        checked
            .map(|settings| Box::new(Checked(settings)) as Box<dyn Connect>)
            .map_err(|error| error.with_context("type", S::TYPE))
    }
    fn rules(&self, rules: ValidationRules) -> ValidationRules {
        S::rules(rules)
    }
    fn detect(&self, environment: &Environment) -> Option<Candidate> {
        let found = S::detect(environment)?;
        Some(Candidate {
            provider_type: S::TYPE,
            settings: serde_json::to_value(&found.settings).ok()?,
            reason: found.reason,
            selectable: found.selectable,
            priority: found.priority,
            lacks: found.lacks,
        })
    }
}

#[async_trait]
impl<S: ProviderSettings> Connect for Checked<S> {
    async fn connect(&self, context: ConnectContext) -> Result<Arc<dyn WorkerProvider>> {
        Ok(Arc::new(self.0.clone().connect(context).await?))
    }
}
