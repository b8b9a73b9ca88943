//! D6: images, by a real engine and a real registry.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::{
    limit, on_engine, on_engine_with,
    proxy::{Mode, Proxy},
    registry::Gate,
    socket, var,
};
use hodei_worker_core::{
    ErrorKind, Result, WorkerProvider as _,
    provider::{CreateOptions, CreateProgress, DeleteOptions, WorkerFilter},
};
use hodei_worker_docker::{
    DockerOptions, DockerSettings, ImageScanner, ImageUpdate, PullPolicy, ScanVerdict, ScannedImage,
};

#[tokio::test]
async fn d6_a_missing_image_is_pulled_with_progress() {
    on_engine("pull", |bench| async move {
        let image = bench.raw().publish("pulled").await;
        let told: Arc<Mutex<Vec<CreateProgress>>> = Arc::default();
        let sink = Arc::clone(&told);
        let options = CreateOptions::default().with_progress(move |step| sink.lock().unwrap().push(step));
        let always = DockerOptions::default().pull(PullPolicy::Always);
        let config = bench.script("a", "true").image(image.as_str()).options(&always).build().unwrap();
        bench.provider.create_worker(&config, &options).await.unwrap();
        let told = told.lock().unwrap().clone();
        assert_eq!(told.first(), Some(&CreateProgress::Pulling { image: image.clone() }));
        assert_eq!(told.last(), Some(&CreateProgress::Pulled { image: image.clone() }));
        assert!(told.iter().any(|step| matches!(step, CreateProgress::Layer { .. })), "{told:?}");
        // Missing, by many at once.
        for status in &bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers {
            bench.provider.delete_worker(&status.worker, &DeleteOptions::default()).await.unwrap();
        }
        bench.raw().remove_image(&image).await;
        let creations = (0..5).map(|n| {
            let config = bench.script(&format!("b-{n}"), "true").image(image.as_str()).build().unwrap();
            let provider = bench.provider.clone();
            async move { provider.create_worker(&config, &CreateOptions::default()).await }
        });
        for created in futures::future::join_all(creations).await {
            created.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn d6_an_image_that_is_always_pulled_is_pulled_for_many_at_once() {
    let proxy = Proxy::unix(socket());
    on_engine_with("always", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let image = bench.raw().publish("always").await;
        let always = DockerOptions::default().pull(PullPolicy::Always);
        let config =
            |id: &str| bench.script(id, "true").image(image.as_str()).options(&always).build().unwrap();
        // Held until all ten want it: how fast a registry is says nothing about who shares what.
        proxy.set(Mode::Hold("/images/create"));
        let (sink, mut told) = tokio::sync::mpsc::unbounded_channel();
        let many = (0..10).map(|n| {
            let (config, provider, sink) = (config(&format!("a-{n}")), bench.provider.clone(), sink.clone());
            let options = CreateOptions::default().with_progress(move |step| drop(sink.send(step)));
            async move { provider.create_worker(&config, &options).await.unwrap() }
        });
        let all_want_it = async {
            for _ in 0..10 {
                assert!(matches!(told.recv().await, Some(CreateProgress::Pulling { .. })));
            }
            proxy.set(Mode::Pass);
        };
        let (created, ()) = limit(futures::future::join(futures::future::join_all(many), all_want_it)).await;
        let pulls = proxy.take().iter().filter(|asked| asked.contains("/images/create")).count();
        // The first may have begun before the others asked, so one more is for all of them.
        assert_eq!(pulls, 2);
        // What is there is what was asked for, whether its registry answers or not.
        proxy.plan("/images/create", 500, r#"{"message":"the registry is down"}"#);
        let again = bench.provider.create_worker(&config("a-0"), &CreateOptions::default()).await.unwrap();
        assert_eq!(again.native_id, created[0].native_id);
        let error = bench.provider.create_worker(&config("b"), &CreateOptions::default()).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
    })
    .await;
}

#[tokio::test]
async fn d6_pull_failures_are_told_apart() {
    on_engine("nopull", |bench| async move {
        let registry = var("HODEI_TEST_REGISTRY");
        let never = DockerOptions::default().pull(PullPolicy::Never);
        for (image, options, kind) in [
            (format!("{registry}/hodei-test/none:1"), DockerOptions::default(), ErrorKind::NotFound),
            (format!("{registry}/hodei-test/busybox:none"), DockerOptions::default(), ErrorKind::NotFound),
            // Not `Unavailable`, since the engine is well.
            ("127.0.0.1:9/hodei-test/busybox:1".to_owned(), DockerOptions::default(), ErrorKind::Dependency),
            ("hodei-test/not-here:1".to_owned(), never, ErrorKind::NotFound),
        ] {
            let config = bench.script("a", "true").image(image.as_str()).options(&options).build().unwrap();
            let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(error.context_value("image"), Some(image.as_str()));
        }
        let image = format!("{registry}/hodei-test/none:1");
        let many = (0..10).map(|n| {
            let config = bench.script(&format!("b-{n}"), "true").image(image.as_str()).build().unwrap();
            let provider = bench.provider.clone();
            async move { provider.create_worker(&config, &CreateOptions::default()).await }
        });
        for created in futures::future::join_all(many).await {
            assert_eq!(created.unwrap_err().kind(), ErrorKind::NotFound);
        }
        assert!(bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.is_empty());
    })
    .await;
}

#[tokio::test]
async fn d6_a_pull_tells_how_many_bytes_of_a_layer_are_here() {
    on_engine("bytes", |bench| async move {
        let repository = format!("{}/{}/large", var("HODEI_TEST_REGISTRY"), bench.installation);
        let script = "head -c 6000000 /dev/urandom > /large";
        bench.raw().publish_new(&repository, "1", "large", script).await;
        // The registry hangs in the middle of the layer, until its bytes have been told.
        let gate = Arc::new(Gate::start(4_000_000).await);
        let image = format!("{}/{}/large:1", gate.address, bench.installation);
        let told: Arc<Mutex<Option<(u64, u64)>>> = Arc::default();
        let (sink, opened) = (Arc::clone(&told), Arc::clone(&gate));
        let options = CreateOptions::default().with_progress(move |step| {
            if let CreateProgress::Layer { current: Some(current), total: Some(total), .. } = step
                && total > 5_000_000
            {
                sink.lock().unwrap().get_or_insert((current, total));
                opened.open();
            }
        });
        let config = bench.script("a", "true").image(image.as_str()).build().unwrap();
        limit(bench.provider.create_worker(&config, &options)).await.unwrap();
        let (current, total) = told.lock().unwrap().unwrap();
        assert!((1..total).contains(&current), "{current} of {total}");
    })
    .await;
}

#[tokio::test]
async fn d6_a_missing_image_costs_five_requests() {
    let proxy = Proxy::unix(socket());
    on_engine_with("fetched", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let image = bench.publish_new("app:1", "one").await;
        proxy.take();
        bench.create(&bench.script("a", "true").image(image.as_str()).build().unwrap()).await;
        let requests = proxy.take();
        assert_eq!(requests.len(), 6, "{requests:#?}");
        bench.create(&bench.script("b", "true").image(image.as_str()).build().unwrap()).await;
        assert_eq!(proxy.take().len(), 1, "what is here is not looked for");
    })
    .await;
}

#[tokio::test]
async fn d6_a_pinned_worker_runs_the_same_image_when_the_tag_moves() {
    let proxy = Proxy::unix(socket());
    on_engine_with("pinned", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let image = bench.publish_new("app:1", "one").await;
        let pinned = bench.provider.resolve_image(&image.parse().unwrap()).await.unwrap();
        assert!(pinned.to_string().starts_with(&format!("{image}@sha256:")), "{pinned}");
        proxy.take();
        assert_eq!(bench.provider.resolve_image(&pinned).await.unwrap(), pinned);
        assert_eq!(proxy.take(), [""; 0], "what is pinned is not asked for");
        bench.publish_new("app:1", "two").await;
        proxy.take();
        let always = DockerOptions::default().pull(PullPolicy::Always);
        for (id, image, options, content) in [
            ("pinned", pinned.to_string(), DockerOptions::default(), "one"),
            ("moved", image.clone(), DockerOptions::default(), "two"),
            ("still", pinned.to_string(), DockerOptions::default(), "one"),
            ("always", pinned.to_string(), always, "one"),
        ] {
            let config = bench.script(id, "true").image(image.as_str()).options(&options).build().unwrap();
            let worker = bench.create(&config).await;
            assert_eq!(bench.content(&worker).await.as_deref(), Some(content), "{id}");
        }
        let pulls = proxy.take().into_iter().filter(|asked| asked.contains("/images/create"));
        assert_eq!(pulls.count(), 3, "what is here by its digest is not fetched again");
        let gone = bench.provider.resolve_image(&image.replace("/app:1", "/none:1").parse().unwrap()).await;
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn d6_an_update_is_seen_without_a_pull() {
    let proxy = Proxy::unix(socket());
    on_engine_with("update", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let update = async |image: &str| bench.provider.image_update(&image.parse().unwrap()).await.unwrap();
        let name = bench.publish_new("app:1", "one").await;
        let first = bench.provider.resolve_image(&name.parse().unwrap()).await.unwrap().to_string();
        let by_digest = first.replace(":1@", "@");
        for image in [&name, &first, &by_digest] {
            assert_eq!(update(image).await, ImageUpdate::NotPulled);
        }
        bench.create(&bench.script("a", "true").image(name.as_str()).build().unwrap()).await;
        for image in [&name, &first, &by_digest] {
            assert_eq!(update(image).await, ImageUpdate::Current);
        }
        let next = bench.publish_new("app:2", "two").await;
        let next = bench.provider.resolve_image(&next.parse().unwrap()).await.unwrap();
        bench.move_tag("app", "2", "1").await;
        proxy.take();
        let available = ImageUpdate::Available { digest: next.digest().unwrap().to_owned() };
        assert_eq!(update(&name).await, available);
        assert_eq!(update(&first).await, available, "the tag means another one than the digest");
        assert_eq!(update(&by_digest).await, ImageUpdate::Current);
        let requests = proxy.take();
        assert_eq!(requests.len(), 5, "{requests:?}");
        assert!(requests.iter().all(|asked| asked.starts_with("GET ")), "nothing is fetched: {requests:?}");
        let same = bench.create(&bench.script("b", "true").image(name.as_str()).build().unwrap()).await;
        assert_eq!(bench.content(&same).await.as_deref(), Some("one"));
        let always = DockerOptions::default().pull(PullPolicy::Always);
        let config = bench.script("c", "true").image(name.as_str()).options(&always).build().unwrap();
        let newer = bench.create(&config).await;
        assert_eq!(bench.content(&newer).await.as_deref(), Some("two"));
        assert_eq!(update(&name).await, ImageUpdate::Current);
    })
    .await;
}

fn for_platform(platform: &str, pull: PullPolicy) -> DockerOptions {
    let mut options = DockerOptions::default().pull(pull);
    options.platform = Some(platform.to_owned());
    options
}

#[tokio::test]
async fn d6_an_image_is_fetched_for_the_platform_that_is_asked_for() {
    let proxy = Proxy::unix(socket());
    on_engine_with("platform", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let (image, [here, there]) = bench.publish_for_two("app:1").await;
        let config = |id: &str, options: &DockerOptions| {
            bench.script(id, "true").image(image.as_str()).options(options).build().unwrap()
        };
        let architecture = |platform: &str| platform.split_once('/').map(|(_, name)| name.to_owned());
        // The engine's own comes first, so that the other one is missing where there is an image of that name.
        let plain = bench.create(&config("plain", &DockerOptions::default())).await;
        assert_eq!(bench.architecture(&plain).await, architecture(here));
        let never = config("never", &for_platform(there, PullPolicy::Never));
        let error = bench.provider.create_worker(&never, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(error.context_value("platform"), Some(there), "{error}");
        for (id, platform, pull) in [
            ("other", there, PullPolicy::Missing),
            ("always", there, PullPolicy::Always),
            ("back", here, PullPolicy::Missing),
        ] {
            let worker = bench.create(&config(id, &for_platform(platform, pull))).await;
            assert_eq!(bench.architecture(&worker).await, architecture(platform), "{id}");
        }
        let named = format!("platform={}", there.replace('/', "%2F"));
        let pulls: Vec<_> =
            proxy.take().into_iter().filter(|asked| asked.contains("/images/create")).collect();
        assert_eq!(pulls.iter().filter(|asked| asked.contains(&named)).count(), 2, "{pulls:#?}");
        // Those that there is no image for, in one that is for two and in one that is for one alone.
        let none = config("none", &for_platform("linux/s390x", PullPolicy::Missing));
        let error = bench.provider.create_worker(&none, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("s390x"), "{error}");
        let alone = bench.publish_new("alone:1", "alone").await;
        let only = for_platform(there, PullPolicy::Missing);
        let only = bench.script("none", "true").image(alone.as_str()).options(&only).build().unwrap();
        let error = bench.provider.create_worker(&only, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(there), "{error}");
    })
    .await;
}

/// Accepts all, and takes note of their platforms.
#[derive(Debug, Default)]
struct Platforms(Mutex<Vec<String>>);

#[async_trait]
impl ImageScanner for Platforms {
    async fn scan(&self, image: &ScannedImage) -> Result<ScanVerdict> {
        self.0.lock().unwrap().push(image.platform.clone());
        Ok(ScanVerdict::Accepted)
    }
}

#[tokio::test]
async fn d6_what_is_judged_is_the_image_for_the_platform() {
    on_engine("judged", |mut bench| async move {
        let (image, [here, there]) = bench.publish_for_two("app:1").await;
        let scanner = Arc::new(Platforms::default());
        bench.provider =
            bench.stranger().await.provider.with_image_scanner(Arc::<Platforms>::clone(&scanner));
        for (id, options, platform) in [
            ("plain", DockerOptions::default(), here),
            ("other", for_platform(there, PullPolicy::Missing), there),
            ("again", for_platform(there, PullPolicy::Missing), there),
        ] {
            let config = bench.script(id, "true").image(image.as_str()).options(&options).build().unwrap();
            let worker = bench.create(&config).await;
            let architecture = bench.architecture(&worker).await.unwrap();
            assert_eq!(format!("linux/{architecture}"), platform, "{id}");
        }
        assert_eq!(*scanner.0.lock().unwrap(), [here, there]);
        let none = for_platform("linux/s390x", PullPolicy::Missing);
        let config = bench.script("none", "true").image(image.as_str()).options(&none).build().unwrap();
        let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    })
    .await;
}
