//! D6: log-ins to registries, by a real engine and a real registry with a password.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::sync::Arc;

use common::{
    Bench, on_engine,
    proxy::Proxy,
    registry::{ClientFolder, Fake, known_user, locked},
    socket, var,
};
use hodei_worker_core::{
    Error, ErrorKind, Retry, WorkerProvider as _,
    credential::{CredentialProvider as _, MemoryCredentialProvider, SecretKey, StoreOptions},
    provider::{CreateOptions, WorkerFilter},
};
use hodei_worker_docker::{
    DockerConfig, DockerOptions, DockerSettings, ImageUpdate, PullPolicy, RegistryAuth,
};
use serde_json::json;

/// No log-in but those that a test gives.
fn settings() -> DockerSettings {
    DockerSettings::at(var("HODEI_TEST_DOCKER_HOST")).with_docker_config(DockerConfig::Off)
}

fn from_folder(folder: &ClientFolder) -> DockerSettings {
    settings().with_docker_config(DockerConfig::Folder(folder.path().to_owned()))
}

fn secrets(secret: &str) -> Arc<MemoryCredentialProvider> {
    Arc::new(MemoryCredentialProvider::new().with("prod/registry", secret).unwrap())
}

/// A worker whose image is fetched, whether the engine has it or not.
async fn create(bench: &Bench, id: &str, image: &str) -> Result<(), Error> {
    let always = DockerOptions::default().pull(PullPolicy::Always);
    let config = bench.script(id, "true").image(image).options(&always).build().unwrap();
    bench.provider.create_worker(&config, &CreateOptions::default()).await.map(drop)
}

/// The error of a worker that is not created, which tells no password.
async fn refused(bench: &Bench, image: &str) -> (Error, String) {
    let error = create(bench, "refused", image).await.unwrap_err();
    let told = format!("{error:?} {error:#} {:?} {:?}", error.report(), bench.provider);
    assert!(!told.contains("hunter2") && !told.contains(&known_user().1), "{told}");
    assert_eq!(error.context_value("image"), Some(image), "{error}");
    (error, told)
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn d6_a_secret_logs_in_and_a_rotated_one_is_used_at_once() {
    on_engine("login", |bench| async move {
        let image = bench.publish_locked("app:1", "one").await;
        let (error, told) = refused(&bench.with(settings(), secrets("-")).await, &image).await;
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{error}");
        assert!(
            told.contains("wants a log-in") && told.contains(&format!("registries.{}", locked())),
            "{told}"
        );

        let (user, password) = known_user();
        let store = secrets("stale-hunter2");
        let proxy = Proxy::unix(socket());
        let auth = RegistryAuth::password(&user, "prod/registry");
        let mut settings = settings();
        settings.endpoint = Some(proxy.endpoint.clone());
        let here = bench.with(settings.with_registry(locked(), auth), Arc::clone(&store)).await;
        proxy.take();
        let (error, told) = refused(&here, &image).await;
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{error}");
        assert_eq!(error.context_value("secret"), Some("prod/registry"));
        assert!(told.contains("does not accept the log-in"), "{told}");
        let pulls = proxy.take().iter().filter(|asked| asked.contains("/images/create")).count();
        assert_eq!(pulls, 1, "one layer retries, and it is not this one");

        let key = SecretKey::new("prod/registry").unwrap();
        store.store_credential(&key, password.as_str().into(), &StoreOptions::default()).await.unwrap();
        create(&here, "a", &image).await.unwrap();
        let pinned = here.provider.resolve_image(&image.parse().unwrap()).await.unwrap();
        assert!(pinned.digest().is_some());
        let update = here.provider.image_update(&image.parse().unwrap()).await.unwrap();
        assert_eq!(update, ImageUpdate::Current);
        store.store_credential(&key, "stale-hunter2".into(), &StoreOptions::default()).await.unwrap();
        let error = here.provider.resolve_image(&image.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "nothing is kept: {error}");
    })
    .await;
}

#[tokio::test]
async fn d6_a_secret_may_hold_the_whole_log_in() {
    on_engine("whole", |bench| async move {
        let image = bench.publish_locked("app:1", "one").await;
        let (user, password) = known_user();
        let auth = || settings().with_registry(locked(), RegistryAuth::secret("prod/registry"));
        let json = json!({"username": user, "password": password}).to_string();
        for (n, secret) in [format!("{user}:{password}\n"), json].into_iter().enumerate() {
            create(&bench.with(auth(), secrets(&secret)).await, &format!("a-{n}"), &image).await.unwrap();
        }
        let (error, _) = refused(&bench.with(auth(), secrets("hunter2")).await, &image).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let missing = settings().with_registry(locked(), RegistryAuth::secret("no/such"));
        let (error, told) = refused(&bench.with(missing, secrets("hunter2")).await, &image).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert_eq!(error.context_value("secret"), Some("no/such"), "{told}");
        let left = bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers;
        assert_eq!(left.len(), 2, "a refused creation leaves nothing");
    })
    .await;
}

#[tokio::test]
async fn d6_the_log_ins_of_dockers_own_client_are_used() {
    on_engine("client", |bench| async move {
        let image = bench.publish_locked("app:1", "one").await;
        let (user, password) = known_user();
        let good = base64(&format!("{user}:{password}"));
        for (n, key) in [locked(), format!("http://{}/v1/", locked())].into_iter().enumerate() {
            let folder = ClientFolder::new(&json!({"auths": {key: {"auth": good}}}));
            create(&bench.with(from_folder(&folder), secrets("-")).await, &format!("a-{n}"), &image)
                .await
                .unwrap();
            // A setting comes first.
            let stale =
                from_folder(&folder).with_registry(locked(), RegistryAuth::password(&user, "prod/registry"));
            let (error, _) = refused(&bench.with(stale, secrets("stale-hunter2")).await, &image).await;
            assert_eq!(error.context_value("secret"), Some("prod/registry"));
        }
        let folder = ClientFolder::new(&json!({"auths": {locked(): {"auth": base64("x:hunter2")}}}));
        let (error, told) = refused(&bench.with(from_folder(&folder), secrets("-")).await, &image).await;
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        assert!(told.contains(&folder.path().join("config.json").display().to_string()), "{told}");
        // Another registry's log-in is not shown to this one.
        let folder = ClientFolder::new(&json!({"auths": {"other.example": {"auth": good}}}));
        let (error, told) = refused(&bench.with(from_folder(&folder), secrets("-")).await, &image).await;
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        assert!(told.contains("has none for this registry"), "{told}");
        let folder = ClientFolder::new(&json!({"auths": "hunter2"}));
        let (error, told) = refused(&bench.with(from_folder(&folder), secrets("-")).await, &image).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(told.contains("line 1"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn d6_credential_helpers_are_asked() {
    on_engine("helper", |bench| async move {
        let image = bench.publish_locked("app:1", "one").await;
        let (user, password) = known_user();
        let answer = json!({"ServerURL": locked(), "Username": user, "Secret": password});
        let script = format!("test \"$(cat)\" = '{}' || exit 1\necho '{answer}'", locked());
        // What the file says itself does not count then.
        let auths = json!({locked(): {"auth": base64("x:hunter2")}});
        for (n, config) in [
            json!({"auths": auths, "credHelpers": {locked(): "test"}}),
            json!({"auths": auths, "credsStore": "test"}),
            json!({"credHelpers": {locked(): "test"}, "credsStore": "none"}),
        ]
        .iter()
        .enumerate()
        {
            let folder = ClientFolder::new(config).with_helper("test", &script);
            let here = bench.with(from_folder(&folder), secrets("-")).await;
            create(&here, &format!("a-{n}"), &image).await.unwrap();
        }
        let config = json!({"credHelpers": {locked(): "test"}});
        for (script, kind, part) in [
            ("echo credentials not found in native keychain; exit 1", ErrorKind::Unauthenticated, "has none"),
            ("echo the store is locked; exit 1", ErrorKind::Dependency, "failed: the store is locked"),
            (r#"echo '{"Username": "x", "Secret": "hunter2"}'"#, ErrorKind::Unauthenticated, "docker login"),
            ("echo hunter2", ErrorKind::Dependency, "makes no sense"),
        ] {
            let folder = ClientFolder::new(&config).with_helper("test", script);
            let (error, told) = refused(&bench.with(from_folder(&folder), secrets("-")).await, &image).await;
            assert_eq!(error.kind(), kind, "{error}");
            assert!(told.contains(part) && told.contains("docker-credential-test"), "{told}");
        }
        for (name, part) in
            [("gone", "`docker-credential-gone` does not exist"), ("../bin/test", "is not the name")]
        {
            let folder = ClientFolder::new(&json!({"credsStore": name})).with_helper("test", &script);
            let (error, told) = refused(&bench.with(from_folder(&folder), secrets("-")).await, &image).await;
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(told.contains(part), "{told}");
        }
    })
    .await;
}

#[tokio::test]
async fn d6_what_a_registry_refuses_is_told_apart() {
    on_engine("refuse", |bench| async move {
        let (user, password) = known_user();
        let missing = format!("{}/hodei-test/none:1", locked());
        let here = settings().with_registry(locked(), RegistryAuth::password(user, "prod/registry"));
        let (error, _) = refused(&bench.with(here, secrets(&password)).await, &missing).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        for (status, code, kind, retry) in [
            (401, "UNAUTHORIZED", ErrorKind::Unauthenticated, Retry::Never),
            (403, "DENIED", ErrorKind::PermissionDenied, Retry::Never),
            (404, "MANIFEST_UNKNOWN", ErrorKind::NotFound, Retry::Never),
            (429, "TOOMANYREQUESTS", ErrorKind::RateLimited, Retry::Safe { after: None }),
        ] {
            let body = json!({"errors": [{"code": code, "message": "so it is"}]}).to_string();
            let registry = Fake::start(status, "application/json", body).await;
            let image = format!("{}/team/app:1", registry.address);
            let log_in =
                settings().with_registry(&registry.address, RegistryAuth::password("ci", "prod/registry"));
            for settings in [settings(), log_in] {
                let here = bench.with(settings, secrets("stale-hunter2")).await;
                let (error, told) = refused(&here, &image).await;
                assert_eq!((error.kind(), error.retry()), (kind, retry), "{status}: {told}");
                assert!(error.help().is_some(), "{told}");
                let error = here.provider.resolve_image(&image.parse().unwrap()).await.unwrap_err();
                assert_eq!((error.kind(), error.retry()), (kind, retry), "{status}: {error}");
            }
        }
        let unreachable = "127.0.0.1:9/team/app:1";
        let (error, told) = refused(&bench.with(settings(), secrets("-")).await, unreachable).await;
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Dependency, Retry::IfIdempotent), "{error}");
        assert!(told.contains("can the engine's machine reach"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn d6_an_engine_takes_nothing_but_the_digest_that_was_asked_for() {
    on_engine("forged", |bench| async move {
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let digest = format!("sha256:{}", "0f".repeat(32));
        let forged = json!({
            "schemaVersion": 2, "mediaType": kind, "layers": [],
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": digest},
        });
        let registry = Fake::start(200, kind, forged.to_string()).await;
        let image = format!("{}/team/app:1@{digest}", registry.address);
        let (error, told) = refused(&bench.with(settings(), secrets("-")).await, &image).await;
        assert_eq!(error.kind(), ErrorKind::Dependency, "{told}");
        assert!(!bench.raw().has_image(&image).await);
        let asked = registry.asked();
        assert!(asked.iter().any(|line| line.contains("/manifests/sha256:0f0f")), "{asked:?}");
        assert!(!asked.iter().any(|line| line.contains("/blobs/")), "it was believed: {asked:?}");
    })
    .await;
}
