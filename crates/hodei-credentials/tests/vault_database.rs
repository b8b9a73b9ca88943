//! C2: log-ins to a real PostgreSQL that are made for each reader, prolonged and taken back.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod vault_api;

use std::time::Duration;

use hodei_credentials::vault::VaultSettings;
use hodei_worker_core::{
    ErrorKind,
    clock::{Clock as _, SystemClock},
    credential::{
        CredentialCapability, CredentialKind, CredentialLease, CredentialProvider as _,
        DeleteCredentialOptions, RenewOptions, RetrieveOptions, StoreOptions,
    },
    quantity::HumanDuration,
    testkit::eventually,
};
use serde_json::json;
use vault_api::{
    Api, connect,
    database::{Database, log_in},
    key, limit, settings,
};

/// More than a busy machine needs to take a lease back that is over.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    admin: Api,
    mount: String,
    database: Database,
    settings: VaultSettings,
}

async fn bench() -> Bench {
    let admin = Api::admin();
    let mount = admin.kv("beside").await;
    let database = Database::new(&admin).await;
    let more = format!(
        r#"path "{}/creds/*" {{ capabilities = ["read"] }}
        path "sys/leases/revoke" {{ capabilities = ["update"] }}"#,
        database.mount
    );
    let policy = admin.policy(&mount, &more).await;
    let token = admin.token(json!({"policies": ["default", policy], "ttl": "1h"})).await;
    let settings = settings(&mount, &token).with_dynamic("db/", format!("{}/creds/", database.mount));
    Bench { admin, mount, database, settings }
}

impl Bench {
    async fn remove(self) {
        // Takes back what is lent still.
        self.admin.unmount(&self.database.mount).await;
        self.admin.unmount(&self.mount).await;
    }
}

#[tokio::test]
async fn c2_a_lent_log_in_works_is_prolonged_and_is_refused_once_it_is_taken_back() {
    let bench = bench().await;
    bench.database.role(&bench.admin, "app", "1h", "24h").await;
    let store = connect(bench.settings.clone()).await.unwrap();
    assert!(store.get_credential_capabilities().await.unwrap().supports(CredentialCapability::Leases));
    let one = store.retrieve_credential(&key("db/app"), &RetrieveOptions::default()).await.unwrap();
    let other = store.retrieve_credential(&key("db/app"), &RetrieveOptions::default()).await.unwrap();
    assert_eq!(one.content.kind(), CredentialKind::Password);
    assert_ne!(one.content.text("username"), other.content.text("username"), "each reader has its own");
    assert_eq!(log_in(&one).await.unwrap(), one.content.text("username").unwrap());
    log_in(&other).await.unwrap();

    let lease = one.lease.clone().unwrap();
    assert!(lease.renewable && one.expires == Some(lease.ends), "{lease:?}");
    let mut longer = RenewOptions::default();
    longer.by = Some(HumanDuration::secs(7200));
    let renewed = store.renew_lease(&lease, &longer).await.unwrap();
    assert!(renewed.ends > lease.ends && renewed.id == lease.id, "{renewed:?}");

    for _ in 0..2 {
        store.revoke_lease(&renewed).await.unwrap();
    }
    let refused = log_in(&one).await.unwrap_err();
    // A wrong password, or nobody of that name.
    assert!(["28P01", "28000"].contains(&refused.code().unwrap().code()), "{refused}");
    log_in(&other).await.unwrap();
    let over = store.renew_lease(&renewed, &RenewOptions::default()).await.unwrap_err();
    assert_eq!(over.kind(), ErrorKind::NotFound, "{over}");
    let none = CredentialLease::new("none", SystemClock.now(), true);
    let unknown = store.renew_lease(&none, &RenewOptions::default()).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound, "{unknown}");
    bench.remove().await;
    log_in(&other).await.unwrap_err();
}

#[tokio::test]
async fn c2_a_lease_that_nobody_prolongs_is_over_and_one_that_is_prolonged_is_not() {
    let bench = bench().await;
    bench.database.role(&bench.admin, "short", "4s", "30s").await;
    let store = connect(bench.settings.clone()).await.unwrap();
    let read =
        || async { store.retrieve_credential(&key("db/short"), &RetrieveOptions::default()).await.unwrap() };
    let (left, kept) = (read().await, read().await);
    let lease = kept.lease.clone().unwrap();
    // Prolonged for as long as the other takes to be over.
    eventually(PATIENCE, || async {
        store.renew_lease(&lease, &RenewOptions::default()).await.unwrap();
        match log_in(&left).await {
            Err(_) => Ok(()),
            Ok(_) => Err("it works still"),
        }
    })
    .await
    .unwrap();
    assert!(SystemClock.now() >= left.lease.as_ref().unwrap().ends, "it was over before its time");
    log_in(&kept).await.unwrap();
    let over = store.renew_lease(&left.lease.unwrap(), &RenewOptions::default()).await.unwrap_err();
    assert_eq!((over.kind(), over.is_retryable()), (ErrorKind::NotFound, false), "{over}");
    store.revoke_lease(&lease).await.unwrap();
    bench.remove().await;
}

#[tokio::test]
async fn c2_what_an_engine_makes_is_not_stored_and_what_it_lacks_is_not_found() {
    let bench = bench().await;
    let store = connect(bench.settings.clone()).await.unwrap();
    let key = key("db/none");
    let read = store.retrieve_credential(&key, &RetrieveOptions::default()).await.unwrap_err();
    assert_eq!(read.kind(), ErrorKind::NotFound, "{read}");
    let stored = store.store_credential(&key, "hunter2".into(), &StoreOptions::default()).await.unwrap_err();
    assert_eq!(stored.kind(), ErrorKind::Unsupported, "{stored}");
    let deleted = store.delete_credential(&key, &DeleteCredentialOptions::default()).await.unwrap_err();
    assert_eq!(deleted.kind(), ErrorKind::Unsupported, "{deleted}");
    // One that nobody may take back.
    let other = bench.admin.token(json!({"policies": ["default"]})).await;
    let other = connect(settings(&bench.mount, &other).with_dynamic("db/", "x/")).await.unwrap();
    let lease = CredentialLease::new("none", SystemClock.now(), true);
    let revoked = limit(other.revoke_lease(&lease)).await.unwrap_err();
    assert_eq!(revoked.kind(), ErrorKind::PermissionDenied, "{revoked}");
    // Where no engine is named.
    let mut without = bench.settings.clone();
    without.dynamic.clear();
    let without = connect(without).await.unwrap();
    for refused in [
        without.renew_lease(&lease, &RenewOptions::default()).await.map(drop),
        without.revoke_lease(&lease).await,
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    bench.remove().await;
}

#[tokio::test]
async fn c2_a_lease_does_not_promise_to_outlive_its_log_in() {
    let bench = bench().await;
    bench.database.role(&bench.admin, "app", "1h", "24h").await;
    let more = format!(r#"path "{}/creds/*" {{ capabilities = ["read"] }}"#, bench.database.mount);
    let policy = bench.admin.policy(&bench.mount, &more).await;
    let body = json!({"policies": ["default", policy], "ttl": "5m", "renewable": false});
    let brief = bench.admin.token(body).await;
    let brief =
        settings(&bench.mount, &brief).with_dynamic("db/", format!("{}/creds/", bench.database.mount));
    let store = connect(brief).await.unwrap();
    let lent = store.retrieve_credential(&key("db/app"), &RetrieveOptions::default()).await.unwrap();
    let lasts = lent.lease.unwrap().ends.duration_since(SystemClock.now());
    assert!(lasts.as_secs() <= 300, "{lasts:?}");
    bench.remove().await;
}
