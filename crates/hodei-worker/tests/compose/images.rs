//! Images of one test's own, made of the image of the tests.

use bollard::{
    Docker,
    models::{ContainerConfig, ContainerCreateBody},
    query_parameters as q,
};
use futures::TryStreamExt as _;

use crate::bed::{Bed, IMAGES, limit, var};

pub(crate) struct Images {
    client: Docker,
    name: String,
}

impl Images {
    pub(crate) async fn of(bed: &Bed) -> Self {
        Self { client: bed.client().await, name: bed.name.clone() }
    }

    /// A name that no other test has.
    pub(crate) fn repository(&self) -> String {
        format!("hodei-test/{}", self.name)
    }

    /// The same in the registry.
    pub(crate) fn published(&self) -> String {
        format!("{}/hodei-test/{}", var("HODEI_TEST_REGISTRY"), self.name)
    }

    /// Makes an image of what a script leaves in its container, with this beside its own. Gives its id.
    pub(crate) async fn build(&self, repository: &str, script: &str, mut config: ContainerConfig) -> String {
        let body = ContainerCreateBody {
            image: Some(var("HODEI_TEST_IMAGE")),
            cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
            ..ContainerCreateBody::default()
        };
        let made = self.client.create_container(None::<q::CreateContainerOptions>, body).await.unwrap().id;
        self.client.start_container(&made, None::<q::StartContainerOptions>).await.unwrap();
        let ended = self.client.wait_container(&made, None);
        limit(ended.try_collect::<Vec<_>>()).await.unwrap();
        config.labels.get_or_insert_default().insert(IMAGES.to_owned(), self.name.clone());
        let options = q::CommitContainerOptionsBuilder::default().container(&made).repo(repository).tag("1");
        let id = self.client.commit_container(options.build(), config).await.unwrap().id;
        self.client.remove_container(&made, None::<q::RemoveContainerOptions>).await.unwrap();
        id
    }

    /// One that differs from others in that variable.
    pub(crate) async fn coloured(&self, repository: &str, colour: &str) -> String {
        let env = Some(vec![format!("COLOUR={colour}")]);
        self.build(repository, "true", ContainerConfig { env, ..ContainerConfig::default() }).await
    }

    pub(crate) async fn push(&self, repository: &str) {
        let options = q::PushImageOptionsBuilder::default().tag("1").build();
        let steps = self.client.push_image(repository, Some(options), None);
        limit(steps.try_collect::<Vec<_>>()).await.unwrap();
    }

    /// Has the engine give that name to an image that it has.
    pub(crate) async fn tag(&self, id: &str, repository: &str) {
        let options = q::TagImageOptionsBuilder::default().repo(repository).tag("1").build();
        self.client.tag_image(id, Some(options)).await.unwrap();
    }
}
