//! D10: images that change under their names, and what images declare, on a real engine.
#![cfg(all(feature = "docker", feature = "compose"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

#[path = "compose/bed.rs"]
mod bed;
#[path = "compose/images.rs"]
mod images;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bed::{Bed, limit, on_engine, said, var, wholly};
use bollard::models::ContainerConfig;
use hodei_worker::{
    ErrorKind, Operation, Result, WorkerPhase, WorkerProvider,
    compose::{Composition, Instance, UpOptions},
    model::Generation,
    policy::{Call, Policy, With},
    provider::StopOptions,
};
use images::Images;

/// Counts what a provider is asked for.
#[derive(Debug, Default, Clone)]
struct Counted(Arc<Mutex<BTreeMap<Operation, usize>>>);

impl Policy for Counted {
    async fn run<T, F, Fut>(&self, call: Call<'_>, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        *self.0.lock().unwrap().entry(call.operation).or_default() += 1;
        attempt().await
    }
}

fn generations(all: &[Instance]) -> BTreeMap<String, Generation> {
    all.iter().map(|one| (one.name(), one.worker().generation)).collect()
}

fn image_of(all: &[Instance], name: &str) -> String {
    all.iter().find(|one| one.name() == name).unwrap().status.image_id.clone().unwrap()
}

fn runs(all: &[Instance]) -> bool {
    all.iter().all(|one| one.status.phase == WorkerPhase::Running)
}

/// Waits until the service's workers have said these lines, in any order.
async fn says(composition: &Composition, service: &str, lines: &[&str]) {
    let mut expected = lines.to_vec();
    expected.sort_unstable();
    limit(async {
        loop {
            let text = said(composition, service).await;
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            if lines == expected {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn d10_an_image_that_was_built_anew_replaces_its_workers() {
    on_engine("anew", |bed: Arc<Bed>| async move {
        let images = Images::of(&bed).await;
        let repository = images.repository();
        let red = images.coloured(&repository, "red").await;
        let text = format!(
            "
services:
  web: {{image: '{repository}:1', command: sh -c 'echo $$COLOUR; exec sleep 1000', scale: 2, stop_grace_period: 0s}}
  side: {{image: '{repository}:1', command: sleep 1000, stop_grace_period: 0s}}
  other: {{image: '${{IMAGE}}', command: sleep 1000, stop_grace_period: 0s}}
"
        );
        let (_, first) = bed.up(&text).await;
        assert_eq!(image_of(&first, "web-1"), red);

        // As long as nothing has changed it is a list, and a look at each image.
        let project = bed.read(&text).unwrap();
        let inner: Arc<dyn WorkerProvider> = Arc::new(bed.provider(&project).await);
        let counted = Counted::default();
        let counting: Arc<dyn WorkerProvider> = Arc::new(With::new(counted.clone(), inner));
        let composition = Composition::new(project, counting).await.unwrap();
        counted.0.lock().unwrap().clear();
        let same = limit(composition.up(&UpOptions::default())).await.unwrap();
        assert_eq!(generations(&same), generations(&first));
        let mut asked = std::mem::take(&mut *counted.0.lock().unwrap());
        asked.remove(&Operation::Capabilities);
        assert_eq!(asked, BTreeMap::from([(Operation::List, 1), (Operation::Image, 2)]));

        let blue = images.coloured(&repository, "blue").await;
        assert_ne!(red, blue);
        let (composition, second) = bed.up(&text).await;
        let (next, first) = (Generation::FIRST.next(), Generation::FIRST);
        let expected = [("other-1", first), ("side-1", next), ("web-1", next), ("web-2", next)];
        let expected = expected.map(|(name, generation)| (name.to_owned(), generation));
        assert_eq!(generations(&second), BTreeMap::from(expected));
        assert!(runs(&second) && image_of(&second, "web-2") == blue);
        says(&composition, "web", &["blue", "blue"]).await;
        let (_, third) = bed.up(&text).await;
        assert_eq!(generations(&third), generations(&second));

        // What stopped is not started of an older image either, and only what is meant is looked at.
        let web = third.iter().find(|one| one.name() == "web-1").unwrap();
        bed.provider(composition.project()).await.stop_worker(web.worker(), &StopOptions::kill()).await.unwrap();
        let green = images.coloured(&repository, "green").await;
        let only = UpOptions::default().service("web");
        let fourth = limit(composition.up(&only)).await.unwrap();
        assert_eq!((image_of(&fourth, "web-1"), image_of(&fourth, "side-1")), (green, blue));
        limit(composition.down(&wholly())).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d10_an_image_that_is_always_pulled_is_replaced_by_the_registrys() {
    on_engine("always", |bed: Arc<Bed>| async move {
        let images = Images::of(&bed).await;
        let repository = images.published();
        let text = |policy: &str| {
            format!(
                "services: {{web: {{image: '{repository}:1', command: sleep 1000, pull_policy: {policy}, \
                 stop_grace_period: 0s}}}}"
            )
        };
        let red = images.coloured(&repository, "red").await;
        images.push(&repository).await;
        let (_, first) = bed.up(&text("always")).await;
        let old = image_of(&first, "web-1");
        // Somebody publishes another one, of which this engine knows nothing.
        images.coloured(&repository, "blue").await;
        images.push(&repository).await;
        images.tag(&red, &repository).await;
        let (_, same) = bed.up(&text("missing")).await;
        assert_eq!(generations(&same), generations(&first), "nobody asked for what the registry has");
        let (composition, second) = bed.up(&text("always")).await;
        assert_eq!(generations(&second)["web-1"], Generation::FIRST.next());
        assert!(runs(&second) && image_of(&second, "web-1") != old);
        let (_, third) = bed.up(&text("always")).await;
        assert_eq!(generations(&third), generations(&second));
        limit(composition.down(&wholly())).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d10_an_image_that_does_not_exist_leaves_what_runs_as_it_is() {
    on_engine("missing", |bed: Arc<Bed>| async move {
        let registry = var("HODEI_TEST_REGISTRY");
        let service = "command: sleep 1000, scale: 2, stop_grace_period: 0s";
        let (_, first) = bed.up(&format!("services: {{web: {{image: '${{IMAGE}}', {service}}}}}")).await;
        for policy in ["missing", "always", "never"] {
            let image = format!("image: '{registry}/hodei-test/none:1', pull_policy: {policy}");
            let composition = bed.fit(&format!("services: {{web: {{{image}, {service}}}}}")).await;
            let error = limit(composition.up(&UpOptions::default())).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            let left = composition.instances().await.unwrap();
            assert!(runs(&left));
            let ids = |all: &[Instance]| -> Vec<_> {
                all.iter().map(|one| (one.status.native_id.clone(), one.status.run.clone())).collect()
            };
            assert_eq!(ids(&left), ids(&first), "{policy}");
        }
        let composition = bed.fit("services: {web: {image: '${IMAGE}', command: sleep 1000}}").await;
        limit(composition.down(&wholly())).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d10_volumes_and_users_of_images_are_the_workers() {
    on_engine("declared", |bed: Arc<Bed>| async move {
        let images = Images::of(&bed).await;
        let repository = images.repository();
        let script = "mkdir /kept; echo of-the-image > /kept/first; chown -R 1000:1000 /kept";
        let config = ContainerConfig {
            volumes: Some(vec!["/kept".to_owned()]),
            user: Some("1000:1000".to_owned()),
            ..ContainerConfig::default()
        };
        images.build(&repository, script, config).await;
        let text = format!(
            "
services:
  web:
    image: '{repository}:1'
    command: sh -c 'id -u; cat /run/secrets/token; echo; cat /kept/*; echo of-$$TURN > /kept/$$TURN; exec sleep 1000'
    environment: {{TURN: one}}
    secrets: [token]
    scale: 2
    stop_grace_period: 0s
secrets: {{token: {{environment: TOKEN}}}}
"
        );
        let (composition, _) = bed.up(&text).await;
        let one = ["1000", "planted-token", "of-the-image"];
        says(&composition, "web", &[one, one].concat()).await;
        // The next generation finds what the one before has written, and each worker its own.
        let (composition, second) = bed.up(&text.replace("TURN: one", "TURN: two")).await;
        assert!(generations(&second).into_values().all(|generation| generation == Generation::FIRST.next()));
        let two = ["1000", "planted-token", "of-the-image", "of-one"];
        says(&composition, "web", &[two, two].concat()).await;
        limit(composition.down(&wholly())).await.unwrap();
        assert_eq!(bed.left(&composition).await, Vec::<String>::new());
    })
    .await;
}
