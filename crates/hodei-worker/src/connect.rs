use std::sync::Arc;

use hodei_worker_core::{
    ConnectContext, ProviderFactory, ProviderSettings, Result, WorkerProvider,
    error::Error,
    policy::{PolicySettings, Stack},
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
    factory
}

/// Connects to a provider of a known type, and puts the standard policies around it.
///
/// # Errors
/// [`Config`](hodei_worker_core::ErrorKind::Config) when the settings are wrong, naming each field; else what the
/// provider says when it cannot be reached.
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
    let mut problems = Problems::new();
    settings.validate(&mut problems);
    problems.into_result().map_err(|error: Error| error.with_context("type", S::TYPE))?;
    let info = context.info(S::TYPE);
    let provider = settings
        .connect(context)
        .await
        .map_err(|error| error.with_operation(hodei_worker_core::Operation::Connect).with_provider(&info))?;
    Ok(Stack::standard(Arc::new(provider), &PolicySettings::default()))
}
