use std::sync::Arc;

use hodei_worker_core::{
    ConnectContext, Error, ErrorKind, Operation, ProviderConfig, ProviderFactory, ProviderSettings, Result,
    Retry, WorkerProvider,
    model::ValidationRules,
    policy::{PolicySettings, Stack},
    quantity::HumanDuration,
    settings::Problems,
};

/// Every provider type that this build has. Add your own with [`ProviderFactory::with`].
///
/// # Examples
/// ```
/// let factory = hodei_worker::factory();
/// println!("{:?}", factory.types().collect::<Vec<_>>());
/// ```
pub fn factory() -> ProviderFactory {
    let factory = ProviderFactory::default();
    #[cfg(feature = "process")]
    let factory = factory.with::<hodei_worker_process::ProcessSettings>();
    #[cfg(feature = "docker")]
    let factory = factory.with::<hodei_worker_docker::DockerSettings>();
    #[cfg(feature = "kubernetes")]
    let factory = factory.with::<hodei_worker_k8s::KubernetesSettings>();
    factory
}

/// Rules of validation that know the typed options of every provider of this build: with them a configuration that is
/// read from data has its options checked with everything else, and a misspelt provider is refused. With types of your
/// own, use [`ProviderFactory::rules`].
///
/// # Examples
/// ```
/// # #[cfg(feature = "process")]
/// # fn example() -> hodei_worker::Result<()> {
/// use hodei_worker::WorkerConfig;
/// let data = serde_json::json!({
///     "worker_id": "a",
///     "command": ["true"],
///     "options": {"proces": {}},
/// });
/// let error = WorkerConfig::from_value_with(&data, &hodei_worker::rules()).unwrap_err();
/// assert!(error.to_string().contains("did you mean `process`?"));
/// # Ok(()) }
/// # #[cfg(feature = "process")] example().unwrap();
/// ```
pub fn rules() -> ValidationRules {
    factory().rules()
}

/// Connects to a provider of a known type, and puts the standard policies around it. Takes at most the context's
/// `connect_timeout`.
///
/// Call it inside a Tokio runtime with a timer.
///
/// # Errors
/// [`Config`](ErrorKind::Config) when the settings are wrong, naming each field; else what the provider says when it
/// cannot be reached, or [`Timeout`](ErrorKind::Timeout).
///
/// # Cancel safety
/// Nothing is created; connect again.
///
/// # Examples
/// ```
/// # #[cfg(feature = "process")]
/// # async fn example() -> hodei_worker::Result<()> {
/// use hodei_worker::{ConnectContext, WorkerProvider as _, process::ProcessSettings};
/// let context = ConnectContext::new("local".parse()?, "my-app".parse()?);
/// let provider = hodei_worker::connect(ProcessSettings::default(), context).await?;
/// println!("{}", provider.info());
/// # Ok(()) }
/// ```
pub async fn connect<S: ProviderSettings>(
    settings: S,
    context: ConnectContext,
) -> Result<Arc<dyn WorkerProvider>> {
    connect_with(settings, context, &PolicySettings::default()).await
}

/// As [`connect`], with policies of the host's own.
///
/// # Errors
/// As [`connect`], and [`Config`](ErrorKind::Config) when a policy's setting is wrong.
///
/// # Cancel safety
/// Nothing is created; connect again.
///
/// # Examples
/// ```
/// # #[cfg(feature = "process")]
/// # async fn example() -> hodei_worker::Result<()> {
/// use hodei_worker::{ConnectContext, policy::PolicySettings, process::ProcessSettings};
/// let mut policies = PolicySettings::default();
/// policies.retry.attempts = 1;
/// let context = ConnectContext::new("local".parse()?, "my-app".parse()?);
/// let provider = hodei_worker::connect_with(ProcessSettings::default(), context, &policies).await?;
/// # Ok(()) }
/// ```
pub async fn connect_with<S: ProviderSettings>(
    settings: S,
    context: ConnectContext,
    policies: &PolicySettings,
) -> Result<Arc<dyn WorkerProvider>> {
    let mut problems = Problems::new();
    settings.validate(&mut problems);
    let mut wrong = Problems::new();
    policies.validate(&mut wrong);
    problems.nest("policies", wrong);
    problems.into_result().map_err(|error: Error| error.with_context("type", S::TYPE))?;
    let (info, limit) = (context.info(S::TYPE), context.connect_timeout);
    let connected = match tokio::time::timeout(limit, settings.connect(context)).await {
        Ok(connected) => connected,
        Err(_) => {
            let message = format!("it was not done within {}", HumanDuration(limit));
            Err(Error::new(ErrorKind::Timeout, message).with_retry(Retry::Safe { after: None }))
        }
    };
    let about = |error: Error| error.with_operation(Operation::Connect).with_provider(&info);
    Ok(Stack::standard(Arc::new(connected.map_err(about)?), policies))
}

/// Opens a provider as a settings file describes it, with the standard policies around it. Returns at once: calls wait
/// until it is ready, and fail with its error when it could not be reached. What was not there yet is tried again by
/// later calls: see [`ProviderHandle::provider`](hodei_worker_core::ProviderHandle::provider).
///
/// Call it inside a Tokio runtime. To look at its state, or to bring types of your own, use [`factory`].
///
/// # Errors
/// [`Config`](ErrorKind::Config) when the type is unknown, or a setting or a policy's setting is wrong, naming each
/// field.
///
/// # Examples
/// ```
/// # #[cfg(feature = "process")]
/// # async fn example() -> hodei_worker::Result<()> {
/// use hodei_worker::{ConnectContext, ProviderConfig, WorkerProvider as _, policy::PolicySettings};
/// let config = ProviderConfig::new("local".parse()?, "process");
/// let context = ConnectContext::new("local".parse()?, "my-app".parse()?);
/// let provider = hodei_worker::open(&config, &context, &PolicySettings::default())?;
/// println!("{}", provider.get_capabilities().await?.version);
/// # Ok(()) }
/// ```
pub fn open(
    config: &ProviderConfig,
    context: &ConnectContext,
    policies: &PolicySettings,
) -> Result<Arc<dyn WorkerProvider>> {
    let factory = factory();
    let mut wrong = Problems::new();
    policies.validate(&mut wrong);
    if !wrong.is_empty() {
        let mut problems = Problems::new();
        if let Err(error) = factory.validate(config) {
            problems = error.problems().cloned().ok_or(error)?;
        }
        problems.nest("policies", wrong);
        problems.into_result()?;
    }
    Ok(Stack::standard(factory.create_provider(config, context)?, policies))
}
