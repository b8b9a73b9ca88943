//! A compose file brought up, its output interleaved, and taken down. `cargo run --features compose --example compose -- FILE`
//!
//! The engine is found as the `docker` command finds it, variables and `.env` as `docker compose` does. It ends when all
//! services have ended, or by Ctrl-C.

use std::sync::Arc;

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, Result,
    compose::{Composition, DownOptions, Project, ProjectCredentials, ProjectOptions, UpOptions},
    credential::MemoryCredentialProvider,
    docker::DockerSettings,
    provider::LogOptions,
};

#[tokio::main]
async fn main() -> Result<()> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "compose.yaml".to_owned());
    let project = Project::load(&ProjectOptions::from_environment().file(file))?;
    for warning in &project.warnings {
        println!("warning: {warning}");
    }

    // What stands in the file's `secrets` and `configs`; other stores may stand behind it.
    let credentials = ProjectCredentials::new(&project, Arc::new(MemoryCredentialProvider::new()));
    let context = ConnectContext::new("docker".parse()?, "compose-example".parse()?);
    let context = context.with_credentials(Arc::new(credentials));
    let mut settings = DockerSettings::default();
    settings.endpoint = std::env::var("DOCKER_HOST").ok();
    let provider = hodei_worker::connect(settings, context).await?;

    let composition = Composition::new(project, provider).await?;
    let shown = tokio::select! {
        shown = show(&composition) => shown,
        _ = tokio::signal::ctrl_c() => {
            println!("interrupted");
            Ok(())
        }
    };
    composition.down(&DownOptions::default()).await?;
    println!("down");
    shown
}

async fn show(composition: &Composition) -> Result<()> {
    for instance in composition.up(&UpOptions::default()).await? {
        println!("{} is {}", instance.name(), instance.status.phase);
    }
    let mut logs = composition.logs(&[], &LogOptions::following()).await?;
    let print = async {
        // Until the workers are removed, so that no line is missed.
        while let Some((instance, item)) = logs.next().await {
            if let Some(line) = item?.chunk() {
                println!("{} | {}", instance.name(), line.text());
            }
        }
        Ok(())
    };
    let end = async {
        composition.wait().await?;
        composition.down(&DownOptions::default()).await
    };
    futures::future::try_join(print, end).await.map(drop)
}
