//! C2 on one node: log-ins, what is refused, what others do to the same secrets, answers that are lost.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod vault_api;

use std::collections::BTreeSet;

use futures::future::join_all;
use hodei_credentials::vault::{LoginSecret, VaultAuth};
use hodei_worker_core::{
    Error, ErrorKind, Retry,
    credential::{
        CredentialContent, CredentialKind, CredentialProvider as _, CredentialStage,
        MemoryCredentialProvider, MoveStageOptions, RetrieveOptions, StoreOptions,
    },
};
use http::{Method, StatusCode};
use serde_json::json;
use std::sync::Arc;
use vault_api::{Api, AppRole, connect, context, key, limit, proxy::Proxy, settings, variable};

/// It failed so, and repeats none of these.
fn failed<T>(result: Result<T, Error>, kind: ErrorKind, secrets: &[&str]) -> Error {
    let error = result.err().expect("it should fail");
    assert_eq!(error.kind(), kind, "{error:?}");
    let text = format!("{error} {error:#} {error:?} {:?}", error.report());
    assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    error
}

#[tokio::test]
async fn c2_a_role_logs_in_and_its_log_in_is_prolonged_and_then_replaced() {
    let admin = Api::admin();
    let mount = admin.kv("renewal").await;
    let policy = admin.policy(&mount, "").await;
    let role = json!({"token_ttl": "3s", "token_max_ttl": "6s", "token_policies": ["default", policy]});
    let role = AppRole::new(&admin, role).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret-id");
    std::fs::write(&file, format!("{}\n", role.secret_id)).unwrap();
    let mut auth = VaultAuth::app_role(&role.role_id, LoginSecret::File(file));
    if let VaultAuth::AppRole { mount, .. } = &mut auth {
        mount.clone_from(&role.mount);
    }
    let store = connect(settings(&mount, "").with_auth(auth)).await.unwrap();
    let first = store.login().unwrap();
    assert_eq!((first.number, first.renewals, first.renewable), (1, 0, true));
    let a = key("a");
    store.store_credential(&a, "hunter2".into(), &StoreOptions::default()).await.unwrap();
    let mut was_prolonged = false;
    limit(async {
        loop {
            let login = store.login_changed().await.unwrap();
            was_prolonged |= login.number == 1 && login.renewals > 0;
            store.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap();
            if login.number == 3 {
                break;
            }
        }
    })
    .await;
    assert!(was_prolonged, "it was only replaced");
    role.remove(&admin).await;
    admin.unmount(&mount).await;
}

#[tokio::test]
async fn c2_a_revoked_token_is_replaced_once_and_the_call_goes_on() {
    let admin = Api::admin();
    let mount = admin.kv("revoked").await;
    let policy = admin.policy(&mount, "").await;
    let role = AppRole::new(&admin, json!({"token_ttl": "1h", "token_policies": ["default", policy]})).await;
    let store = connect(settings(&mount, "").with_auth(role.auth())).await.unwrap();
    let a = key("a");
    store.store_credential(&a, "hunter2".into(), &StoreOptions::default()).await.unwrap();
    role.revoke_tokens(&admin).await;
    // All at once, and one log-in for all of them.
    let reads =
        join_all((0..16).map(|_| async { store.retrieve_credential(&a, &RetrieveOptions::default()).await }));
    assert!(limit(reads).await.into_iter().all(|read| read.is_ok()));
    assert_eq!(store.login().unwrap().number, 2);
    role.revoke_tokens(&admin).await;
    store.store_credential(&a, "n3w".into(), &StoreOptions::default()).await.unwrap();
    assert_eq!(store.list_versions(&a).await.unwrap().len(), 2, "stored once");
    // Without the role there is no other.
    role.revoke_tokens(&admin).await;
    role.remove(&admin).await;
    let read = store.retrieve_credential(&a, &RetrieveOptions::default()).await;
    failed(read, ErrorKind::Unauthenticated, &[&role.secret_id, "hunter2", "n3w"]);
    admin.unmount(&mount).await;
}

#[tokio::test]
async fn c2_a_token_is_read_again_where_it_was_read_when_it_is_revoked() {
    let admin = Api::admin();
    let mount = admin.kv("token").await;
    let policy = admin.policy(&mount, "").await;
    let token = || admin.token(json!({"policies": [policy], "ttl": "1h"}));
    let (one, other) = (token().await, token().await);
    let revoke = async |token: &str| drop(admin.post("auth/token/revoke", json!({ "token": token })).await);

    let a = key("a");
    let given = connect(settings(&mount, &one)).await.unwrap();
    given.store_credential(&a, "hunter2".into(), &StoreOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, &one).unwrap();
    let from_file = settings(&mount, "").with_auth(VaultAuth::token(LoginSecret::File(file.clone())));
    let from_file = connect(from_file).await.unwrap();
    revoke(&one).await;

    let error = failed(
        given.retrieve_credential(&a, &RetrieveOptions::default()).await,
        ErrorKind::Unauthenticated,
        &[&one, "hunter2"],
    );
    assert!(error.help().unwrap().contains("role"), "{error}");
    std::fs::write(&file, &other).unwrap();
    from_file.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap();
    assert_eq!(from_file.login().unwrap().number, 2);

    // By another credential provider.
    let credentials = MemoryCredentialProvider::new().with("vault/token", other.as_str()).unwrap();
    let by_secret =
        settings(&mount, "").with_auth(VaultAuth::token(LoginSecret::Secret("vault/token".to_owned())));
    let context = context().with_credentials(Arc::new(credentials));
    let by_secret =
        hodei_credentials::vault::VaultCredentialProvider::connect(by_secret, context).await.unwrap();
    by_secret.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap();
    admin.unmount(&mount).await;
}

#[tokio::test]
async fn c2_a_missing_permission_is_told_from_a_refused_log_in() {
    let admin = Api::admin();
    let mount = admin.kv("permission").await;
    let role = AppRole::new(&admin, json!({"token_ttl": "1h", "token_policies": ["default"]})).await;
    let store = connect(settings(&mount, "").with_auth(role.auth())).await.unwrap();
    for _ in 0..3 {
        let read = store.retrieve_credential(&key("a"), &RetrieveOptions::default()).await;
        let error = failed(read, ErrorKind::PermissionDenied, &[&role.secret_id]);
        assert!(error.to_string().contains(&format!("{mount}/data/a")), "{error}");
    }
    let stored = store.store_credential(&key("a"), "hunter2".into(), &StoreOptions::default()).await;
    failed(stored, ErrorKind::PermissionDenied, &["hunter2"]);
    assert_eq!(store.login().unwrap().number, 1, "nothing is won by logging in anew");
    // One that may not even look at itself.
    let blind = AppRole::new(&admin, json!({"token_ttl": "1h", "token_no_default_policy": true})).await;
    let store = connect(settings(&mount, "").with_auth(blind.auth())).await.unwrap();
    for _ in 0..3 {
        let read = store.retrieve_credential(&key("a"), &RetrieveOptions::default()).await;
        failed(read, ErrorKind::PermissionDenied, &[]);
    }
    assert_eq!(store.login().unwrap().number, 1);

    let mut wrong = role.auth();
    if let VaultAuth::AppRole { secret_id, .. } = &mut wrong {
        *secret_id = Some(hodei_worker_core::credential::SecretMaterial::from("wrong-hunter2").into());
    }
    let refused = connect(settings(&mount, "").with_auth(wrong)).await;
    let error = failed(refused, ErrorKind::Unauthenticated, &["hunter2", &role.role_id]);
    assert!(!error.is_retryable(), "{error:?}");
    role.remove(&admin).await;
    blind.remove(&admin).await;
    admin.unmount(&mount).await;
}

#[tokio::test]
async fn c2_a_quota_that_is_used_up_asks_for_a_pause() {
    let admin = Api::admin();
    let mount = admin.kv("quota").await;
    let policy = admin.policy(&mount, "").await;
    let store = connect(settings(&mount, &admin.token(json!({"policies": [policy]})).await)).await.unwrap();
    let quota = format!("sys/quotas/rate-limit/{mount}");
    admin.post(&quota, json!({"rate": 1, "interval": "60s", "path": format!("{mount}/")})).await;
    let reads = join_all(
        (0..3).map(|_| async { store.retrieve_credential(&key("a"), &RetrieveOptions::default()).await }),
    );
    let kinds: Vec<_> = reads.await.into_iter().map(|read| read.unwrap_err()).collect();
    let limited: Vec<_> = kinds.iter().filter(|error| error.kind() == ErrorKind::RateLimited).collect();
    assert!(limited.len() >= 2 && limited.iter().all(|error| error.is_retryable()), "{kinds:?}");
    admin.delete(&quota).await;
    admin.unmount(&mount).await;
}

#[tokio::test]
async fn c2_a_server_that_is_not_there_is_told_with_its_remedy() {
    let mut settings = settings("secret", "hunter2");
    settings.addresses = vec!["http://127.0.0.1:1".to_owned()];
    let error = failed(connect(settings.clone()).await, ErrorKind::Unavailable, &["hunter2"]);
    assert!(error.is_retryable() && error.to_string().contains("started"), "{error}");
    settings.addresses = vec![variable("HODEI_TEST_VAULT_ADDR").replace("http://", "https://")];
    settings.auth = VaultAuth::token(hodei_worker_core::credential::SecretMaterial::from("hunter2"));
    settings.tls = None;
    failed(connect(settings).await, ErrorKind::Unavailable, &["hunter2"]);
    let admin = Api::admin();
    let error =
        failed(connect(vault_api::settings("no/such/mount", &admin.token)).await, ErrorKind::Config, &[]);
    assert!(error.to_string().contains("no/such/mount"), "{error}");
}

#[tokio::test]
async fn c2_others_read_what_is_stored_and_what_they_store_is_read() {
    let admin = Api::admin();
    let mount = admin.kv("others").await;
    let store = connect(settings(&mount, &admin.token)).await.unwrap();
    let a = key("a");
    store
        .store_credential(&a, CredentialContent::password("app", "hunter2"), &StoreOptions::default())
        .await
        .unwrap();
    let read = admin.get(&format!("{mount}/data/a")).await;
    assert_eq!(
        (&read["data"]["data"]["username"], &read["data"]["data"]["password"]),
        (&json!("app"), &json!("hunter2"))
    );
    // Somebody else, who knows of no kinds.
    admin
        .post(
            &format!("{mount}/data/a"),
            json!({"data": {"username": "app", "password": "n3w", "port": 5432}}),
        )
        .await;
    let read = store.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap();
    assert_eq!((read.content.kind(), read.secret().expose_str()), (CredentialKind::Password, Some("n3w")));
    assert_eq!((read.version.as_str(), read.content.text("port")), ("2", Some("5432")));
    // What somebody else stores while a version waits is in use at once; what was moved stays moved.
    let waiting = store.store_credential(&a, "waiting".into(), &StoreOptions::pending()).await.unwrap();
    admin.post(&format!("{mount}/data/a"), json!({"data": {"value": "by hand"}})).await;
    let current = store.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap();
    assert_eq!((current.secret().expose_str(), current.version.as_str()), (Some("by hand"), "4"));
    let pending =
        store.retrieve_credential(&a, &RetrieveOptions::stage(CredentialStage::Pending)).await.unwrap();
    assert_eq!(pending.version, waiting);
    // What others keep in the metadata stays there.
    let (custom, cas) = (json!({"owner": "them"}), StatusCode::NO_CONTENT);
    let patch = admin.get(&format!("{mount}/metadata/a")).await["data"]["custom_metadata"].clone();
    let mut both = patch.as_object().unwrap().clone();
    both.extend(custom.as_object().unwrap().clone());
    let put = admin
        .send(Method::POST, &format!("{mount}/metadata/a"), Some(json!({"custom_metadata": both})))
        .await;
    assert_eq!(put.0, cas);
    store.move_stage(&a, CredentialStage::Current, &waiting, &MoveStageOptions::default()).await.unwrap();
    let metadata = admin.get(&format!("{mount}/metadata/a")).await;
    assert_eq!(metadata["data"]["custom_metadata"]["owner"], json!("them"));
    let current = store.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap();
    assert_eq!(current.secret().expose_str(), Some("waiting"));
    // Deleted by hand, it is not there; undeleted, it is.
    admin.delete(&format!("{mount}/data/a")).await;
    admin.post(&format!("{mount}/delete/a"), json!({"versions": [3]})).await;
    failed(store.retrieve_credential(&a, &RetrieveOptions::default()).await, ErrorKind::NotFound, &[]);
    admin.post(&format!("{mount}/undelete/a"), json!({"versions": [3]})).await;
    store.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap();
    admin.unmount(&mount).await;
}

#[tokio::test]
async fn c2_of_writers_and_movers_at_once_none_undoes_the_other() {
    let admin = Api::admin();
    let mount = admin.kv("race").await;
    let a = key("a");
    admin.post(&format!("{mount}/metadata/a"), json!({"max_versions": 1000})).await;
    let hosts = join_all((0..4).map(|_| connect(settings(&mount, &admin.token)))).await;
    let tasks = hosts.into_iter().enumerate().map(|(n, host)| {
        let (host, a) = (host.unwrap(), a.clone());
        tokio::spawn(async move {
            let mut made = Vec::new();
            for m in 0..10 {
                let content = format!("{n}-{m}").as_str().into();
                let options = if n % 2 == 0 { StoreOptions::default() } else { StoreOptions::pending() };
                let version = host.store_credential(&a, content, &options).await.unwrap();
                if n % 2 == 1 {
                    let options = MoveStageOptions::default();
                    host.move_stage(&a, CredentialStage::Current, &version, &options).await.unwrap();
                }
                // Somebody's is in use at any time.
                host.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap();
                made.push((version, format!("{n}-{m}")));
            }
            (host, made)
        })
    });
    let (mut versions, mut host) = (BTreeSet::new(), None);
    for done in limit(join_all(tasks)).await {
        let (its_host, made) = done.unwrap();
        for (version, text) in made {
            let read =
                its_host.retrieve_credential(&a, &RetrieveOptions::version(version.clone())).await.unwrap();
            assert_eq!(read.secret().expose_str(), Some(text.as_str()));
            assert!(versions.insert(version), "two have one version");
        }
        host = Some(its_host);
    }
    let listed = host.unwrap().list_versions(&a).await.unwrap();
    assert_eq!(listed.len(), 40, "each was stored once");
    for stage in [CredentialStage::Current, CredentialStage::Previous] {
        assert_eq!(listed.iter().filter(|version| version.stages.contains(&stage)).count(), 1, "{stage}");
    }
    admin.unmount(&mount).await;
}

#[tokio::test]
async fn c2_a_read_is_one_request_and_nothing_is_repeated() {
    let admin = Api::admin();
    let mount = admin.kv("cost").await;
    let proxy = Proxy::start(&admin.address).await;
    let mut through = settings(&mount, &admin.token);
    through.addresses = vec![proxy.address.clone()];
    let store = connect(through).await.unwrap();
    proxy.asked();
    let a = key("a");
    store.store_credential(&a, "hunter2".into(), &StoreOptions::default()).await.unwrap();
    let asked = proxy.asked();
    assert_eq!(asked, [format!("GET /v1/{mount}/metadata/a"), format!("POST /v1/{mount}/data/a")]);
    store.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap();
    failed(store.retrieve_credential(&key("b"), &RetrieveOptions::default()).await, ErrorKind::NotFound, &[]);
    assert_eq!(proxy.asked().len(), 2);
    store.list_credentials("").await.unwrap();
    assert_eq!(proxy.asked().len(), 1);
    admin.unmount(&mount).await;
}

#[tokio::test]
async fn c2_a_write_whose_answer_is_lost_is_there_once() {
    let admin = Api::admin();
    let mount = admin.kv("lost").await;
    let proxy = Proxy::start(&admin.address).await;
    let mut through = settings(&mount, &admin.token);
    through.addresses = vec![proxy.address.clone()];
    let store = connect(through).await.unwrap();
    let a = key("a");
    for options in [StoreOptions::default(), StoreOptions::pending(), StoreOptions::default().with_token("t")]
    {
        proxy.lose_the_answer_to(&format!("POST /v1/{mount}/data/a"));
        let before = store.list_versions(&a).await.unwrap().len();
        limit(store.store_credential(&a, "hunter2".into(), &options)).await.unwrap();
        assert!(proxy.has_lost());
        assert_eq!(store.list_versions(&a).await.unwrap().len(), before + 1);
    }
    proxy.lose_the_answer_to(&format!("POST /v1/{mount}/metadata/a"));
    let pending =
        store.retrieve_credential(&a, &RetrieveOptions::stage(CredentialStage::Pending)).await.unwrap();
    store
        .move_stage(&a, CredentialStage::Current, &pending.version, &MoveStageOptions::default())
        .await
        .unwrap();
    let current = store.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap();
    assert_eq!(current.version, pending.version);
    // One that somebody else was faster with is not taken for ours.
    proxy.lose_the_answer_to(&format!("POST /v1/{mount}/data/b"));
    let b = key("b");
    let options = StoreOptions::new_only();
    let (one, other) = tokio::join!(
        store.store_credential(&b, "one".into(), &options),
        store.store_credential(&b, "other".into(), &options),
    );
    assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1, "{one:?} {other:?}");
    assert_eq!(store.list_versions(&b).await.unwrap().len(), 1);
    admin.unmount(&mount).await;
}

#[tokio::test]
async fn c2_what_waits_does_not_make_the_engine_forget_what_is_in_use() {
    let admin = Api::admin();
    let mount = admin.kv("room").await;
    admin.post(&format!("{mount}/config"), json!({"max_versions": 3})).await;
    let store = connect(settings(&mount, &admin.token)).await.unwrap();
    let a = key("a");
    store.store_credential(&a, "in use".into(), &StoreOptions::default()).await.unwrap();
    for _ in 0..2 {
        store.store_credential(&a, "waits".into(), &StoreOptions::pending()).await.unwrap();
    }
    let one_more = store.store_credential(&a, "waits".into(), &StoreOptions::pending()).await;
    let error = failed(one_more, ErrorKind::Conflict, &[]);
    assert!(error.to_string().contains("max_versions"), "{error}");
    let current = store.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap();
    assert_eq!(current.secret().expose_str(), Some("in use"));
    assert_eq!(current.stages, [CredentialStage::Current]);
    failed(
        store.retrieve_credential(&a, &RetrieveOptions::stage(CredentialStage::Previous)).await,
        ErrorKind::NotFound,
        &[],
    );
    admin.unmount(&mount).await;
}

#[tokio::test]
async fn c2_a_write_of_which_nobody_knows_the_outcome_is_not_said_to_be_safe_to_repeat() {
    let admin = Api::admin();
    let mount = admin.kv("unknown").await;
    let proxy = Proxy::start(&admin.address).await;
    let mut through = settings(&mount, &admin.token);
    through.addresses = vec![proxy.address.clone()];
    let store = connect(through).await.unwrap();
    proxy.lose_the_answer_to(&format!("POST /v1/{mount}/data/a"));
    proxy.dies_with_the_answer();
    let stored = store.store_credential(&key("a"), "hunter2".into(), &StoreOptions::default()).await;
    let error = failed(stored, ErrorKind::Unavailable, &["hunter2"]);
    assert_eq!(error.retry(), Retry::IfIdempotent, "{error:?}");
    let there = connect(settings(&mount, &admin.token)).await.unwrap();
    assert_eq!(there.list_versions(&key("a")).await.unwrap().len(), 1);
    admin.unmount(&mount).await;
}
