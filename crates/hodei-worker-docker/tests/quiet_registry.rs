//! What reaches a log of a log-in to a registry: nothing. Its logger is the process's, so that it stands alone.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{
    capture, on_engine,
    registry::{ClientFolder, known_user, locked},
    var,
};
use hodei_worker_core::{
    WorkerProvider as _, credential::MemoryCredentialProvider, provider::CreateOptions,
    provider::WorkerFilter,
};
use hodei_worker_docker::{DockerConfig, DockerOptions, DockerSettings, PullPolicy, RegistryAuth};
use serde_json::json;

#[tokio::test]
async fn d6_no_password_of_a_registry_is_logged() {
    let (user, password) = known_user();
    let wrong = "stale-hunter2";
    on_engine("quietreg", move |bench| async move {
        let image = bench.publish_locked("app:1", "one").await;
        capture::start();
        let (user, password) = known_user();
        let answer = json!({"Username": user, "Secret": password});
        let folder = ClientFolder::new(&json!({"credHelpers": {locked(): "test"}}))
            .with_helper("test", &format!("echo '{answer}'"));
        let auths = json!({locked(): {"auth": STANDARD.encode(format!("{user}:{wrong}"))}});
        let file = ClientFolder::new(&json!({"auths": auths}));
        let settings =
            DockerSettings::at(var("HODEI_TEST_DOCKER_HOST")).with_docker_config(DockerConfig::Off);
        let by = |folder: &ClientFolder| {
            settings.clone().with_docker_config(DockerConfig::Folder(folder.path().to_owned()))
        };
        let by_secret =
            |name: &str| settings.clone().with_registry(locked(), RegistryAuth::password(&user, name));
        let store = MemoryCredentialProvider::new().with("good", password.as_str()).unwrap();
        let store = Arc::new(store.with("wrong", wrong).unwrap());
        let always = DockerOptions::default().pull(PullPolicy::Always);
        for (n, (settings, good)) in
            [(by_secret("good"), true), (by_secret("wrong"), false), (by(&folder), true), (by(&file), false)]
                .into_iter()
                .enumerate()
        {
            capture::add(format!("{settings:?}"));
            let here = bench.with(settings, Arc::clone(&store)).await;
            let config = bench.script(&format!("a-{n}"), "true").image(image.as_str()).options(&always);
            let created =
                here.provider.create_worker(&config.build().unwrap(), &CreateOptions::default()).await;
            assert_eq!(created.is_ok(), good, "{created:?}");
            let update = here.provider.image_update(&image.parse().unwrap()).await;
            capture::add(format!("{created:?} {update:?} {:?}", here.provider));
            for error in created.err().into_iter().chain(update.err()) {
                capture::add(format!("{error:#} {:?}", error.report()));
            }
            // Something that bollard logs.
            here.provider.list_workers(&WorkerFilter::all()).await.unwrap();
            here.provider.client().version().await.unwrap();
        }
    })
    .await;
    // Whole groups of three bytes, which are the same whatever follows.
    let header = format!("{{\"username\":\"{user}");
    let header = STANDARD.encode(&header[..header.len() / 3 * 3]);
    let auth = STANDARD.encode(format!("{user}:{wrong}"));
    capture::assert_silent_about(&[&password, wrong, &header, &auth]);
}
