//! Images that the engine has never seen: each has a layer of its own, is pushed to the registry and forgotten.

use bollard::{
    Docker,
    models::{ContainerConfig, ContainerCreateBody},
    query_parameters::{
        CommitContainerOptionsBuilder, CreateContainerOptions, PushImageOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, StartContainerOptions,
        WaitContainerOptions,
    },
};
use futures::TryStreamExt as _;
use hodei_worker_benches::{Outcome, place::image};

/// The size of the layer that has to be fetched.
pub(crate) const LAYER: &str = "8 MB";

/// An image in the registry alone.
pub(crate) struct ColdImage {
    engine: Docker,
    pub(crate) name: String,
}

impl ColdImage {
    /// Makes one, and has the engine forget it.
    pub(crate) async fn push(engine: &Docker, registry: &str, tag: &str) -> Outcome<Self> {
        let repository = format!("{registry}/hodei-test/cold");
        let name = format!("{repository}:{tag}");
        let body = ContainerCreateBody {
            image: Some(image()),
            entrypoint: Some(
                ["sh", "-c", "head -c 8000000 /dev/urandom > /layer"].map(str::to_owned).to_vec(),
            ),
            ..ContainerCreateBody::default()
        };
        let id = engine.create_container(None::<CreateContainerOptions>, body).await?.id;
        let made = commit(engine, &id, &repository, tag).await;
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        engine.remove_container(&id, Some(options)).await?;
        made?;
        let cold = Self { engine: engine.clone(), name };
        let options = PushImageOptionsBuilder::new().tag(tag).build();
        let pushed = engine.push_image(&repository, Some(options), Some(Default::default()));
        let pushed = pushed.try_collect::<Vec<_>>().await.map(drop);
        cold.forget().await?;
        pushed?;
        Ok(cold)
    }

    /// Removes it from the engine, its layer too.
    pub(crate) async fn forget(&self) -> Outcome {
        // By its id: what we have pulled has a name of ours more.
        let id = self.engine.inspect_image(&self.name).await?.id.unwrap_or_default();
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        self.engine.remove_image(&id, Some(options), None).await?;
        Ok(())
    }
}

async fn commit(engine: &Docker, id: &str, repository: &str, tag: &str) -> Outcome {
    engine.start_container(id, None::<StartContainerOptions>).await?;
    engine.wait_container(id, None::<WaitContainerOptions>).try_collect::<Vec<_>>().await?;
    let options = CommitContainerOptionsBuilder::new().container(id).repo(repository).tag(tag).build();
    engine.commit_container(options, ContainerConfig::default()).await?;
    Ok(())
}
