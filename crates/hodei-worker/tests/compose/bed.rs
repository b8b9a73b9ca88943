//! A project on a real engine, and everything of it removed, however its test ends.
#![allow(dead_code)] // Each test binary uses a part of it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hodei_worker::{
    ConnectContext, Result, WorkerProvider,
    compose::{Composition, DownOptions, Instance, Project, ProjectCredentials, ProjectOptions, UpOptions},
    credential::MemoryCredentialProvider,
    docker::{DockerProvider, DockerSettings},
    model::InstallationId,
    provider::{LogOptions, WorkerFilter},
};

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// Label of images that a test has made.
pub(crate) const IMAGES: &str = "hodei-test.bed";

pub(crate) fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by `cargo xtask test`"))
}

/// A folder with a project's files, and the installation that runs it.
pub(crate) struct Bed {
    pub(crate) name: String,
    pub(crate) folder: tempfile::TempDir,
    installation: InstallationId,
}

impl Bed {
    fn new(tag: &str) -> Self {
        let name = format!("{tag}-{:08x}", fastrand::u32(..));
        let installation = format!("t-{name}").parse().unwrap();
        Self { name, folder: tempfile::tempdir().unwrap(), installation }
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).unwrap();
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("compose.yaml")
    }

    pub(crate) fn read(&self, text: &str) -> Result<Project> {
        self.read_in(self.folder.path(), text)
    }

    /// The same project, in that folder.
    pub(crate) fn read_in(&self, folder: &Path, text: &str) -> Result<Project> {
        let file = folder.join("compose.yaml");
        std::fs::write(&file, text).unwrap();
        let options = ProjectOptions::new().file(file).project_name(&self.name);
        Project::load(&options.variable("IMAGE", var("HODEI_TEST_IMAGE")).variable("TOKEN", "planted-token"))
    }

    pub(crate) async fn provider(&self, project: &Project) -> DockerProvider {
        let others = MemoryCredentialProvider::new().with("outside", "planted-outside").unwrap();
        let credentials = ProjectCredentials::new(project, Arc::new(others));
        let context = ConnectContext::new("docker".parse().unwrap(), self.installation.clone());
        let context = context.with_credentials(Arc::new(credentials));
        let settings = DockerSettings::at(var("HODEI_TEST_DOCKER_HOST"));
        DockerProvider::connect(settings, context).await.unwrap()
    }

    /// The project of that text, for the engine.
    pub(crate) async fn try_fit(&self, text: &str) -> Result<Composition> {
        let project = self.read(text)?;
        let provider: Arc<dyn WorkerProvider> = Arc::new(self.provider(&project).await);
        Composition::new(project, provider).await
    }

    pub(crate) async fn fit(&self, text: &str) -> Composition {
        self.try_fit(text).await.unwrap()
    }

    pub(crate) async fn up(&self, text: &str) -> (Composition, Vec<Instance>) {
        let composition = self.fit(text).await;
        let instances = limit(composition.up(&UpOptions::default())).await.unwrap();
        (composition, instances)
    }

    /// Somebody else on the same engine.
    pub(crate) async fn client(&self) -> bollard::Docker {
        self.provider(&self.read("services: {none: {image: none}}").unwrap()).await.client()
    }

    async fn sweep(&self) {
        let project =
            Project::parse("services: {none: {image: none}}", &ProjectOptions::new().project_name("none"));
        let provider = self.provider(&project.unwrap()).await;
        for status in provider.list_workers(&WorkerFilter::all()).await.unwrap().workers {
            provider.delete_worker(&status.worker, &Default::default()).await.unwrap();
        }
        let client = provider.client();
        let label = format!("hodei-worker/installation={}", self.installation);
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = bollard::query_parameters::ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = client.list_volumes(Some(options)).await.unwrap().volumes.unwrap_or_default();
        use bollard::query_parameters as q;
        for volume in volumes {
            client.remove_volume(&volume.name, None::<q::RemoveVolumeOptions>).await.unwrap();
        }
        let filters = HashMap::from([("label".to_owned(), vec![format!("{IMAGES}={}", self.name)])]);
        let images = q::ListImagesOptionsBuilder::new().all(true).filters(&filters).build();
        for image in client.list_images(Some(images)).await.unwrap() {
            let force = q::RemoveImageOptionsBuilder::new().force(true).build();
            client.remove_image(&image.id, Some(force), None).await.unwrap();
        }
    }

    /// The names of what the engine has of this installation: containers, networks, volumes.
    pub(crate) async fn left(&self, composition: &Composition) -> Vec<String> {
        let provider = self.provider(composition.project()).await;
        let client = provider.client();
        let label = format!("hodei-worker/installation={}", self.installation);
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        use bollard::query_parameters as q;
        let containers = q::ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = client.list_containers(Some(containers)).await.unwrap();
        let networks = q::ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = client.list_networks(Some(networks)).await.unwrap();
        let volumes = q::ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = client.list_volumes(Some(volumes)).await.unwrap().volumes.unwrap_or_default();
        let mut all: Vec<String> = containers.into_iter().filter_map(|one| one.id).collect();
        all.extend(networks.into_iter().filter_map(|one| one.name));
        all.extend(volumes.into_iter().map(|one| one.name));
        all
    }
}

pub(crate) async fn limit<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("it takes too long")
}

/// All that a service has written by now.
pub(crate) async fn said(composition: &Composition, service: &str) -> String {
    use futures::StreamExt as _;
    let lines = composition.logs(&[service], &LogOptions::all()).await.unwrap();
    let lines: Vec<_> = limit(lines.collect::<Vec<_>>()).await;
    lines.into_iter().map(|(_, item)| item.unwrap().chunk().unwrap().text().into_owned() + "\n").collect()
}

/// Runs a test, and removes what it left, however it ends.
pub(crate) async fn on_engine<F>(tag: &str, test: impl FnOnce(Arc<Bed>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let bed = Arc::new(Bed::new(tag));
    let outcome = tokio::spawn(test(Arc::clone(&bed))).await;
    bed.sweep().await;
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}

/// Down with all that it has.
pub(crate) fn wholly() -> DownOptions {
    DownOptions::with_volumes()
}
