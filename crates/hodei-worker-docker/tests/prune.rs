//! D6: images of ours that nobody uses are removed, and no others, by a real engine and a real registry.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::time::Duration;

use common::{
    Bench, LIMIT, installation, limit, on_engine, on_engine_with,
    proxy::{Mode, Proxy},
    socket, var,
};
use hodei_worker_core::{
    WorkerProvider as _, WorkerRef,
    provider::{CreateOptions, DeleteOptions},
    testkit::eventually,
};
use hodei_worker_docker::{DockerOptions, DockerSettings, PruneOptions, PullPolicy};

/// Of any age.
fn all() -> PruneOptions {
    PruneOptions::older_than(Duration::ZERO)
}

/// A worker whose image is fetched, whether the engine has it or not.
async fn create(bench: &Bench, id: &str, image: &str) -> WorkerRef {
    let always = DockerOptions::default().pull(PullPolicy::Always);
    let config = bench.script(id, "true").image(image).options(&always).build().unwrap();
    bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap().worker
}

/// Has an image fetched for a worker that is then deleted.
async fn fetch(bench: &Bench, image: &str) {
    let worker = create(bench, "fetch", image).await;
    bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
}

/// The names of what was pruned, or would be.
async fn pruned(bench: &Bench, options: &PruneOptions) -> Vec<String> {
    let pruned = limit(bench.provider.prune_images(options)).await.unwrap();
    let mut names: Vec<String> = pruned.into_iter().flat_map(|image| image.names).collect();
    names.sort();
    names
}

#[tokio::test]
async fn d6_only_images_of_ours_that_nobody_uses_are_pruned() {
    on_engine("prune", |bench| async move {
        let raw = bench.raw();
        let image = async |name: &str| bench.publish_new(&format!("{name}:1"), name).await;
        let (ours, before, named, running) =
            (image("ours").await, image("before").await, image("named").await, image("running").await);
        let (stopped, foreign) = (image("stopped").await, image("foreign").await);
        raw.pull(&before).await;
        for image in [&ours, &before, &named, &running, &stopped] {
            fetch(&bench, image).await;
        }
        raw.tag(&named, &format!("mine/{}", bench.installation), "1").await;
        let runs = raw.sleeper_of(&running, &format!("{}-runs", bench.installation)).await;
        let exists = raw.sleeper_of(&stopped, &format!("{}-exists", bench.installation)).await;
        raw.kill(&exists).await;
        let settings = DockerSettings::at(var("HODEI_TEST_DOCKER_HOST"));
        let other = Bench::connect(settings, &installation("other")).await.unwrap();
        fetch(&other, &foreign).await;

        assert_eq!(pruned(&bench, &PruneOptions::default()).await, [""; 0], "they are too young");
        assert_eq!(pruned(&bench, &all().dry_run()).await, [ours.as_str()]);
        assert!(raw.has_image(&ours).await);
        // By another host, or by this one after a restart.
        let told = bench.stranger().await.provider.prune_images(&all()).await.unwrap();
        assert_eq!((told.len(), &told[0].names), (1, &vec![ours.clone()]));
        assert!(told[0].size > 0 && !raw.has_image(&told[0].id).await);
        assert_eq!(pruned(&bench, &all()).await, [""; 0]);
        for image in [&before, &named, &running, &stopped, &foreign] {
            assert!(raw.has_image(image).await, "{image} is gone");
        }
        // When nobody needs them any more.
        raw.remove(&runs).await;
        raw.remove(&exists).await;
        assert_eq!(pruned(&bench, &all()).await, [running.as_str(), stopped.as_str()]);
        assert_eq!(pruned(&other, &all()).await, [foreign.as_str()]);
        raw.remove_image(&format!("mine/{}:1", bench.installation)).await;
        assert_eq!(pruned(&bench, &all()).await, [named.as_str()]);
        assert!(raw.has_image(&before).await);
        raw.remove_image(&before).await;
        // What comes back is ours, though it was somebody else's.
        fetch(&bench, &before).await;
        assert_eq!(pruned(&bench, &all()).await, [before.as_str()]);
    })
    .await;
}

#[tokio::test]
async fn d6_an_image_whose_tag_or_digest_went_on_is_pruned() {
    on_engine("moved", |bench| async move {
        let image = bench.publish_new("app:1", "one").await;
        let pinned = bench.provider.resolve_image(&image.parse().unwrap()).await.unwrap().to_string();
        let old = create(&bench, "old", &image).await;
        let id = bench.raw().inspect(&bench.status(&old).await.native_id).await.image.unwrap();
        bench.publish_new("app:2", "two").await;
        bench.move_tag("app", "2", "1").await;
        let new = create(&bench, "new", &image).await;
        assert_eq!(bench.content(&new).await.as_deref(), Some("two"));
        assert_eq!(pruned(&bench, &all()).await, [""; 0], "both are in use");
        bench.provider.delete_worker(&old, &DeleteOptions::default()).await.unwrap();
        let told = bench.provider.prune_images(&all()).await.unwrap();
        assert_eq!(told.iter().map(|image| image.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
        assert!(!bench.raw().has_image(&id).await);
        assert_eq!(bench.content(&new).await.as_deref(), Some("two"));
        // By its digest alone.
        fetch(&bench, &pinned).await;
        assert!(bench.raw().has_image(&pinned).await);
        let told = bench.provider.prune_images(&all()).await.unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(!bench.raw().has_image(&pinned).await);
    })
    .await;
}

#[tokio::test]
async fn d6_a_name_that_was_somebody_elses_stays_theirs() {
    on_engine("names", |bench| async move {
        let theirs = bench.publish_new("theirs:1", "one").await;
        bench.raw().pull(&theirs).await;
        let old = bench.raw().0.inspect_image(&theirs).await.unwrap().id.unwrap();
        bench.publish_new("theirs:2", "two").await;
        bench.move_tag("theirs", "2", "1").await;
        fetch(&bench, &theirs).await;
        assert_eq!(pruned(&bench, &all()).await, [""; 0]);
        for image in [&theirs, &old] {
            assert!(bench.raw().has_image(image).await, "{image} is gone");
            bench.raw().remove_image(image).await;
        }

        // An image of ours with two names is ours again when one of them has gone on.
        let first = bench.publish_new("ours:1", "one").await;
        bench.move_tag("ours", "1", "2").await;
        let second = first.strip_suffix(":1").unwrap().to_owned() + ":2";
        fetch(&bench, &first).await;
        fetch(&bench, &second).await;
        assert_eq!(pruned(&bench, &all()).await, [""; 0], "an engine would have to be forced");
        assert!(bench.raw().has_image(&first).await && bench.raw().has_image(&second).await);
        bench.publish_new("ours:3", "three").await;
        bench.move_tag("ours", "3", "1").await;
        fetch(&bench, &first).await;
        assert_eq!(pruned(&bench, &all()).await, [first.as_str(), second.as_str()]);
    })
    .await;
}

#[tokio::test]
async fn d6_an_image_that_is_taken_while_it_is_pruned_stays() {
    let proxy = Proxy::unix(socket());
    on_engine_with("taken", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let image = bench.publish_new("app:1", "one").await;
        fetch(&bench, &image).await;
        let other = bench.stranger().await;
        proxy.set(Mode::Hold("/images/hodei-worker.invalid"));
        proxy.take();
        let taken = async {
            proxy.asked("/images/hodei-worker.invalid").await;
            let id = other.raw().sleeper_of(&image, &format!("{}-taken", bench.installation)).await;
            proxy.set(Mode::Pass);
            id
        };
        let options = all();
        let (told, container) = futures::future::join(bench.provider.prune_images(&options), taken).await;
        assert_eq!(told.unwrap(), []);
        assert!(bench.raw().is_running(&container).await && bench.raw().has_image(&image).await);
        bench.raw().remove(&container).await;
        assert_eq!(pruned(&bench, &all().dry_run()).await, [image.as_str()], "it is still ours");

        // Whoever prunes goes away in the middle.
        proxy.set(Mode::Hold("/images/sha256:"));
        proxy.take();
        let provider = bench.provider.clone();
        let pruning = tokio::spawn(async move { provider.prune_images(&all()).await });
        proxy.asked("/images/sha256:").await;
        pruning.abort();
        assert!(pruning.await.unwrap_err().is_cancelled());
        proxy.set(Mode::Pass);
        let gone = eventually(LIMIT, async || {
            if other.raw().has_image(&image).await { Err("it is still there") } else { Ok(()) }
        });
        gone.await.unwrap();
    })
    .await;
}
