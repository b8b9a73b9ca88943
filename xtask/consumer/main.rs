//! A host application outside of the workspace, which knows nothing but the published packages.

use hodei_worker::{
    ConnectContext, ProviderConfig, Result, WorkerConfig, WorkerProvider as _, WorkerProviderExt as _,
    policy::{PolicySettings, Stack},
    process::{self, ProcessSettings},
    provider::DeleteOptions,
};

fn main() -> Result<()> {
    process::init();
    run()
}

#[tokio::main(flavor = "current_thread")]
async fn run() -> Result<()> {
    let context = ConnectContext::new("local".parse()?, "consumer".parse()?);
    let provider = hodei_worker::connect(ProcessSettings::default(), context.clone()).await?;
    let config = WorkerConfig::builder("a").command(["true"]).build()?;
    let worker = provider.run_worker(&config).await?.worker;
    println!("{:?}", provider.wait_for_exit(&worker).await?.exit);
    provider.delete_worker(&worker, &DeleteOptions::default()).await?;

    let config = ProviderConfig::new("engine".parse()?, "docker");
    let handle = hodei_worker::factory().create_provider(&config, &context)?;
    let engine = Stack::standard(handle, &PolicySettings::default());
    println!("{}", engine.info());
    Ok(())
}
