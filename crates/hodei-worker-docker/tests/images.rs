//! D6: images, by a real engine and a real registry.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::sync::{Arc, Mutex};

use common::{
    limit, on_engine, on_engine_with,
    proxy::{Mode, Proxy},
    socket, var,
};
use hodei_worker_core::{
    ErrorKind, WorkerProvider as _,
    provider::{CreateOptions, CreateProgress, DeleteOptions, WorkerFilter},
};
use hodei_worker_docker::{DockerOptions, DockerSettings, PullPolicy};

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
