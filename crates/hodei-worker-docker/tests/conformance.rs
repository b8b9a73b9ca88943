//! The behaviour suite against a real Docker Engine: the one that `HODEI_TEST_DOCKER_HOST` names.

use std::{collections::HashMap, process::ExitCode, sync::Arc};

use async_trait::async_trait;
use bollard::{
    Docker,
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
        ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
    },
};
use hodei_worker_core::{
    ConnectContext, Error, ErrorKind, ProviderSettings as _, Result, WorkerProvider, WorkerRef,
    model::{InstallationId, WorkerConfigBuilder, labels},
    testkit::{Planted, Subject, run},
};
use hodei_worker_docker::DockerSettings;

struct Engine {
    host: String,
    image: String,
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run this by `cargo xtask test --only docker`"))
}

/// The engine seen past the provider.
async fn raw(host: &str) -> Result<Docker> {
    let context = ConnectContext::new("raw".parse()?, "raw".parse()?);
    Ok(DockerSettings::at(host).connect(context).await?.client().clone())
}

fn unexpected(error: bollard::errors::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "the test cannot look past the provider").with_source(error)
}

#[async_trait]
impl Subject for Engine {
    fn name(&self) -> String {
        // The suite runs on several engines, each a part of its own.
        variable("HODEI_TEST_DOCKER_PART")
    }

    async fn connect(&self, context: ConnectContext) -> Result<Arc<dyn WorkerProvider>> {
        Ok(Arc::new(DockerSettings::at(self.host.as_str()).connect(context).await?))
    }

    fn prepare(&self, builder: WorkerConfigBuilder) -> WorkerConfigBuilder {
        builder.image(self.image.as_str())
    }

    fn secret_variables(&self) -> bool {
        false
    }

    async fn plant_unowned(
        &self,
        installation: &InstallationId,
        worker: &WorkerRef,
    ) -> Result<Option<Box<dyn Planted>>> {
        let client = raw(&self.host).await?;
        let name = format!("hodei.{installation}.{}.{}", worker.id, worker.generation);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(vec!["true".to_owned()]),
            ..ContainerCreateBody::default()
        };
        let id = client.create_container(Some(options), body).await.map_err(unexpected)?.id;
        Ok(Some(Box::new(Container { client, id })))
    }

    async fn leftovers(&self, installation: &InstallationId) -> Result<Vec<String>> {
        let client = raw(&self.host).await?;
        let label = format!("{}={installation}", labels::INSTALLATION);
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = client.list_containers(Some(options)).await.map_err(unexpected)?;
        let mut left: Vec<String> =
            containers.into_iter().flat_map(|container| container.names.unwrap_or_default()).collect();
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = client.list_volumes(Some(options)).await.map_err(unexpected)?.volumes;
        left.extend(volumes.unwrap_or_default().into_iter().map(|volume| volume.name));
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = client.list_networks(Some(options)).await.map_err(unexpected)?;
        left.extend(networks.into_iter().filter_map(|network| network.name));
        for folder in ["/run/hodei-worker", "/dev/shm/hodei-worker"] {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            left.extend(
                names
                    .filter(|name| name.contains(installation.as_str()))
                    .map(|name| format!("{folder}/{name}")),
            );
        }
        Ok(left)
    }
}

struct Container {
    client: Docker,
    id: String,
}

#[async_trait]
impl Planted for Container {
    async fn is_untouched(&self) -> Result<bool> {
        let seen = self
            .client
            .inspect_container(&self.id, None::<InspectContainerOptions>)
            .await
            .map_err(unexpected)?;
        let started = seen.state.and_then(|state| state.started_at).unwrap_or_default();
        Ok(started.starts_with("0001-"))
    }
    async fn remove(&self) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        self.client.remove_container(&self.id, Some(options)).await.map_err(unexpected)
    }
}

fn main() -> ExitCode {
    run([Engine { host: variable("HODEI_TEST_DOCKER_HOST"), image: variable("HODEI_TEST_IMAGE") }])
}
