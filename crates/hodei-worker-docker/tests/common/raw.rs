//! What others do on the same engine, past the provider.

use std::collections::{BTreeSet, HashMap};

use bollard::{
    Docker,
    models::{
        ContainerConfig, ContainerCreateBody, ContainerInspectResponse, NetworkCreateRequest, NetworkInspect,
        VolumeCreateRequest,
    },
    query_parameters::{
        CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, EventsOptionsBuilder,
        InspectContainerOptions, InspectNetworkOptions, ListContainersOptionsBuilder, ListNetworksOptions,
        ListVolumesOptions, ListVolumesOptionsBuilder, PushImageOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptions, RemoveVolumeOptions,
        RenameContainerOptionsBuilder, StartContainerOptions, TagImageOptionsBuilder,
    },
};
use futures::TryStreamExt as _;
use hodei_worker_core::model::InstallationId;

use super::var;

/// Somebody else's client.
pub(crate) struct Raw(pub(crate) Docker);

impl Raw {
    /// Waits until the engine has told of a signal to this container: it does so after it has sent it.
    pub(crate) async fn until_signal_is_told(&self, id: &str) {
        let filters = HashMap::from([("container", vec![id]), ("event", vec!["kill"])]);
        let options = EventsOptionsBuilder::default().since("1").filters(&filters).build();
        let mut told = std::pin::pin!(self.0.events(Some(options)));
        told.try_next().await.unwrap().expect("no event");
    }
    /// Runs a container that sleeps.
    pub(crate) async fn sleeper(&self, name: &str) -> String {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let body = ContainerCreateBody {
            image: Some(var("HODEI_TEST_IMAGE")),
            cmd: Some(["sleep", "1000"].map(str::to_owned).to_vec()),
            ..ContainerCreateBody::default()
        };
        let id = self.0.create_container(Some(options), body).await.unwrap().id;
        self.0.start_container(&id, None::<StartContainerOptions>).await.unwrap();
        id
    }
    /// Runs a container that sleeps, of that image.
    pub(crate) async fn sleeper_of(&self, image: &str, name: &str) -> String {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(["sleep", "1000"].map(str::to_owned).to_vec()),
            cmd: Some(Vec::new()),
            ..ContainerCreateBody::default()
        };
        let id = self.0.create_container(Some(options), body).await.unwrap().id;
        self.0.start_container(&id, None::<StartContainerOptions>).await.unwrap();
        id
    }
    /// Makes an image of a container, with these labels beside its own.
    pub(crate) async fn commit(&self, container: &str, repository: &str, labels: &[(&str, &str)]) -> String {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = ContainerConfig { labels: Some(labels.collect()), ..ContainerConfig::default() };
        self.commit_with(container, repository, config).await
    }
    /// Makes an image of a container, with this beside its own.
    pub(crate) async fn commit_with(
        &self,
        container: &str,
        repository: &str,
        config: ContainerConfig,
    ) -> String {
        let options = CommitContainerOptionsBuilder::default().container(container).repo(repository).tag("1");
        self.0.commit_container(options.build(), config).await.unwrap();
        format!("{repository}:1")
    }
    pub(crate) async fn inspect(&self, id: &str) -> ContainerInspectResponse {
        self.0.inspect_container(id, None::<InspectContainerOptions>).await.unwrap()
    }
    pub(crate) async fn is_running(&self, id: &str) -> bool {
        self.inspect(id).await.state.and_then(|state| state.running) == Some(true)
    }
    pub(crate) async fn rename(&self, id: &str, name: &str) {
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        self.0.rename_container(id, options).await.unwrap();
    }
    pub(crate) async fn remove(&self, id: &str) {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        self.0.remove_container(id, Some(options)).await.unwrap();
    }
    /// Puts the image of the tests into the registry under a tag of its own, so that what one test does with it is no
    /// other's trouble.
    pub(crate) async fn publish(&self, tag: &str) -> String {
        let repository = format!("{}/hodei-test/busybox", var("HODEI_TEST_REGISTRY"));
        let named = TagImageOptionsBuilder::default().repo(&repository).tag(tag).build();
        self.0.tag_image(&var("HODEI_TEST_IMAGE"), Some(named)).await.unwrap();
        let pushed = PushImageOptionsBuilder::default().tag(tag).build();
        let steps = self.0.push_image(&repository, Some(pushed), None);
        steps.try_for_each(|_| std::future::ready(Ok(()))).await.unwrap();
        format!("{repository}:{tag}")
    }
    pub(crate) async fn remove_image(&self, image: &str) {
        self.0.remove_image(image, None::<RemoveImageOptions>, None).await.unwrap();
    }
    pub(crate) async fn create_network(&self, name: &str) {
        let request = NetworkCreateRequest { name: name.to_owned(), ..NetworkCreateRequest::default() };
        self.0.create_network(request).await.unwrap();
    }
    pub(crate) async fn remove_network(&self, name: &str) {
        self.0.remove_network(name).await.unwrap();
    }
    pub(crate) async fn network(&self, name: &str) -> NetworkInspect {
        self.0.inspect_network(name, None::<InspectNetworkOptions>).await.unwrap()
    }
    pub(crate) async fn has_network(&self, name: &str) -> bool {
        let listed = self.0.list_networks(None::<ListNetworksOptions>).await.unwrap();
        listed.iter().any(|network| network.name.as_deref() == Some(name))
    }
    /// The containers of an installation that never run, by which files get into volumes.
    pub(crate) async fn helpers(&self, installation: &InstallationId) -> Vec<String> {
        let name = format!("^/hodei[.]{installation}[.].*[.]helper[.]");
        let filters = HashMap::from([("name".to_owned(), vec![name])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = self.0.list_containers(Some(options)).await.unwrap();
        let names = listed.into_iter().filter_map(|container| container.names?.pop());
        names.filter(|name| name.contains(".helper.")).collect()
    }
    pub(crate) async fn create_volume(&self, name: &str) {
        let request = VolumeCreateRequest { name: Some(name.to_owned()), ..VolumeCreateRequest::default() };
        self.0.create_volume(request).await.unwrap();
    }
    pub(crate) async fn remove_volume(&self, name: &str) {
        self.0.remove_volume(name, None::<RemoveVolumeOptions>).await.unwrap();
    }
    /// The volumes without a name that no container has.
    pub(crate) async fn nameless_volumes(&self) -> BTreeSet<String> {
        let filters = HashMap::from([("dangling", vec!["true"])]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let listed = self.0.list_volumes(Some(options)).await.unwrap();
        let names = listed.volumes.unwrap_or_default().into_iter().map(|volume| volume.name);
        names.filter(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).collect()
    }
    pub(crate) async fn has_volume(&self, name: &str) -> bool {
        let listed = self.0.list_volumes(None::<ListVolumesOptions>).await.unwrap();
        listed.volumes.unwrap_or_default().iter().any(|volume| volume.name == name)
    }
}
