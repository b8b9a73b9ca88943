//! Images are judged by an external command before workers are made of them.
//! `cargo run --features docker --example image_scanner -- IMAGE COMMAND [ARGUMENT…]`
//!
//! The command gets the image's id as its last argument, as most scanners take it, and refuses by a code other than 0;
//! the last line that it prints is the reason. For instance: `… -- busybox:1.36 trivy image --exit-code 1`.

use async_trait::async_trait;
use hodei_worker::{
    ConnectContext, Error, ErrorKind, Result, WorkerConfig, WorkerProvider as _,
    docker::{DockerProvider, DockerSettings, ImageScanner, ScanVerdict, ScannedImage},
    provider::{CreateOptions, DeleteOptions},
};

/// Runs a command for each image that it has not seen yet.
#[derive(Debug)]
struct External {
    command: Vec<String>,
}

#[async_trait]
impl ImageScanner for External {
    async fn scan(&self, image: &ScannedImage) -> Result<ScanVerdict> {
        let (program, arguments) = self
            .command
            .split_first()
            .ok_or_else(|| Error::new(ErrorKind::Config, "no command was given that judges images"))?;
        let output = tokio::process::Command::new(program).args(arguments).arg(&image.id).output().await;
        let output = output.map_err(|error| {
            Error::new(ErrorKind::Config, "the scanner cannot be run")
                .with_context("program", program)
                .with_source(error)
        })?;
        if output.status.success() {
            return Ok(ScanVerdict::Accepted);
        }
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Ok(ScanVerdict::refused(said.lines().last().unwrap_or("it did not say why")))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let image = words.next().unwrap_or_else(|| "busybox:1.36".to_owned());
    let context = ConnectContext::new("docker".parse()?, "scanned".parse()?);
    let mut settings = DockerSettings::default();
    settings.endpoint = std::env::var("DOCKER_HOST").ok();
    let provider = DockerProvider::connect(settings, context).await?;
    let scanner = External { command: words.collect() };
    let provider = provider.with_image_scanner(std::sync::Arc::new(scanner));

    let config = WorkerConfig::builder("scanned").image(image.as_str()).command(["true"]).build()?;
    match provider.create_worker(&config, &CreateOptions::default()).await {
        Ok(handle) => {
            println!("accepted: {image}");
            provider.delete_worker(&handle.worker, &DeleteOptions::default()).await
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            println!("refused: {error}");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
