//! C2 on three nodes, which are killed, sealed and halted under load.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod vault_api;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hodei_credentials::vault::{VaultAuth, VaultCredentialProvider, VaultSettings};
use hodei_worker_core::{
    Error, ErrorKind,
    credential::{
        CredentialLease, CredentialProvider as _, CredentialStack, RenewOptions, RetrieveOptions,
        SecretMaterial, StoreOptions,
    },
    policy::PolicySettings,
    quantity::HumanDuration,
    testkit::eventually,
};
use serde_json::json;
use tokio::{
    sync::{MutexGuard, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use vault_api::{Api, AppRole, connect, database::Database, key, variable};

/// More than an election takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the specification allows a write.
const LONGEST_WRITE: Duration = Duration::from_secs(30);
const KEYS: u64 = 20;

/// The cluster is one for all.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Cluster {
    nodes: Vec<Api>,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    async fn whole() -> Self {
        let turn = TURN.lock().await;
        let token = variable("HODEI_TEST_VAULT_CLUSTER_TOKEN");
        let addresses = variable("HODEI_TEST_VAULT_CLUSTER");
        let nodes = addresses.split(',').map(|address| Api::new(address, &token)).collect();
        let cluster = Self { nodes, _turn: turn };
        cluster.await_voters().await;
        cluster
    }

    /// Does something to a node, counted from 1.
    async fn control(&self, verb: &str, node: usize) {
        let script = variable("HODEI_TEST_VAULT_CONTROL");
        let word = format!("{verb}-{}", node + 1);
        let status = tokio::process::Command::new(script).arg(&word).status().await.unwrap();
        assert!(status.success(), "{word}: {status}");
    }

    /// Since when a node says that it is active, if it does.
    async fn active_since(&self, node: usize) -> Option<String> {
        let api = self.nodes[node].clone();
        let asked = tokio::spawn(async move { api.get("sys/leader").await });
        // One that is halted does not answer, one that is dead makes the helper panic.
        let told = tokio::time::timeout(Duration::from_secs(2), asked).await.ok()?.ok()?;
        let is_active = told["is_self"] == json!(true);
        is_active.then(|| told["active_time"].as_str().unwrap().to_owned())
    }

    /// One that was halted may go on saying that it is active for ever.
    async fn active(&self) -> usize {
        eventually(PATIENCE, || async {
            let mut latest = None;
            for node in 0..self.nodes.len() {
                latest = self.active_since(node).await.map(|since| (since, node)).max(latest);
            }
            latest.map(|(_, node)| node).ok_or("no node is active")
        })
        .await
        .unwrap()
    }

    /// Three nodes that vote: the loss of any one of them leaves a majority.
    async fn await_voters(&self) {
        eventually(PATIENCE, || async {
            let active = self.active().await;
            let told = self.nodes[active].get("sys/storage/raft/autopilot/state").await;
            let healthy = told["data"]["healthy"] == json!(true);
            match (healthy, told["data"]["voters"].as_array().map(Vec::len)) {
                (true, Some(3)) => Ok(()),
                _ => Err(format!("{told}")),
            }
        })
        .await
        .unwrap();
    }

    fn settings(&self, mount: &str) -> VaultSettings {
        VaultSettings::at(self.nodes.iter().map(|node| node.address.clone()))
            .with_mount(mount)
            .with_auth(VaultAuth::token(SecretMaterial::from(self.nodes[0].token.as_str())))
    }
}

/// Which it was, the time that it took, and the version that it made.
type Write = (u64, Duration, Result<String, Error>);

/// What came of the calls under load.
#[derive(Default)]
struct Tally {
    reads: AtomicU64,
    renewals: AtomicU64,
    failed_reads: Mutex<Vec<Error>>,
    failed_renewals: Mutex<Vec<Error>>,
    writes: Mutex<Vec<Write>>,
    longest_read: Mutex<Duration>,
}

impl Tally {
    fn report(&self) -> String {
        let failed = |errors: &Mutex<Vec<Error>>| {
            let errors = errors.lock().unwrap();
            format!("{} failed {:?}", errors.len(), errors.first())
        };
        let writes = self.writes.lock().unwrap();
        let failures = writes.iter().filter_map(|(.., stored)| stored.as_ref().err());
        format!(
            "{} reads ({}), the longest {:?}; {} writes ({} failed {:?}), the longest {:?}; {} renewals ({})",
            self.reads.load(Ordering::Relaxed),
            failed(&self.failed_reads),
            self.longest_read.lock().unwrap(),
            writes.len(),
            failures.clone().count(),
            failures.clone().next(),
            writes.iter().map(|(_, took, _)| *took).max(),
            self.renewals.load(Ordering::Relaxed),
            failed(&self.failed_renewals),
        )
    }
}

/// A call each so often, whatever becomes of the others, until it is told to stop.
async fn every<F: Future<Output = ()> + Send + 'static>(
    pause: Duration,
    mut stop: watch::Receiver<bool>,
    mut call: impl FnMut(u64) -> F,
) {
    let (mut ticks, mut calls) = (interval(pause), JoinSet::new());
    // A machine that is too busy for this makes fewer calls, not ever longer queues.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for n in 0.. {
        tokio::select! {
            _ = ticks.tick() => drop(calls.spawn(call(n))),
            _ = stop.changed() => break,
        }
        while let Some(done) = calls.try_join_next() {
            done.unwrap();
        }
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
}

struct Load {
    provider: Arc<VaultCredentialProvider>,
    tally: Arc<Tally>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Load {
    /// 200 reads, 20 writes and, where there are leases, 20 renewals a second.
    /// With the policies around it that a host has: what waits does not come all at once when there is an active node.
    fn start(
        provider: Arc<VaultCredentialProvider>,
        leases: Vec<CredentialLease>,
        policies: &PolicySettings,
    ) -> Self {
        let store = CredentialStack::new(Arc::clone(&provider) as _, policies).provider();
        let (tally, stop, mut tasks) =
            (Arc::new(Tally::default()), watch::Sender::new(false), JoinSet::new());
        let (its_store, its_tally) = (Arc::clone(&store), Arc::clone(&tally));
        tasks.spawn(every(Duration::from_millis(5), stop.subscribe(), move |n| {
            let (store, tally) = (Arc::clone(&its_store), Arc::clone(&its_tally));
            async move {
                let begun = Instant::now();
                let key = key(&format!("read/{}", n % KEYS));
                match store.retrieve_credential(&key, &RetrieveOptions::default()).await {
                    Ok(read) => assert!(read.secret().expose_str() == Some("hunter2")),
                    Err(error) => tally.failed_reads.lock().unwrap().push(error),
                }
                tally.reads.fetch_add(1, Ordering::Relaxed);
                let mut longest = tally.longest_read.lock().unwrap();
                *longest = begun.elapsed().max(*longest);
            }
        }));
        let (its_store, its_tally) = (Arc::clone(&store), Arc::clone(&tally));
        tasks.spawn(every(Duration::from_millis(50), stop.subscribe(), move |n| {
            let (store, tally) = (Arc::clone(&its_store), Arc::clone(&its_tally));
            async move {
                let begun = Instant::now();
                let content = format!("write {n}").as_str().into();
                let key = key(&format!("write/{}", n % KEYS));
                let stored = store.store_credential(&key, content, &StoreOptions::default()).await;
                let stored = stored.map(|version| version.as_str().to_owned());
                tally.writes.lock().unwrap().push((n, begun.elapsed(), stored));
            }
        }));
        if !leases.is_empty() {
            let (its_store, its_tally) = (Arc::clone(&store), Arc::clone(&tally));
            tasks.spawn(every(Duration::from_millis(50), stop.subscribe(), move |n| {
                let (store, tally) = (Arc::clone(&its_store), Arc::clone(&its_tally));
                let lease = leases[n as usize % leases.len()].clone();
                async move {
                    if let Err(error) = store.renew_lease(&lease, &RenewOptions::default()).await {
                        tally.failed_renewals.lock().unwrap().push(error);
                    }
                    tally.renewals.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        Self { provider, tally, stop, tasks }
    }

    fn written(&self) -> usize {
        self.tally.writes.lock().unwrap().iter().filter(|(.., stored)| stored.is_ok()).count()
    }
    /// Until that many more writes have succeeded.
    async fn await_writes(&self, more: usize) {
        let wanted = self.written() + more;
        eventually(PATIENCE, || async {
            if self.written() >= wanted { Ok(()) } else { Err(self.tally.report()) }
        })
        .await
        .unwrap();
    }

    async fn stop(mut self) -> Arc<Tally> {
        self.stop.send_replace(true);
        while let Some(done) = self.tasks.join_next().await {
            done.unwrap();
        }
        println!("{}", self.tally.report());
        Arc::clone(&self.tally)
    }
}

async fn prepare(cluster: &Cluster, mount: &str) {
    let api = &cluster.nodes[cluster.active().await];
    for n in 0..KEYS {
        api.post(&format!("{mount}/metadata/write/{n}"), json!({"max_versions": 1000})).await;
        api.post(&format!("{mount}/data/read/{n}"), json!({"data": {"value": "hunter2"}})).await;
    }
}

/// No read failed, and each write is there once, in time.
async fn judge(cluster: &Cluster, mount: &str, tally: &Tally, longest: Duration) {
    let failed_reads = tally.failed_reads.lock().unwrap().clone();
    assert!(failed_reads.is_empty(), "{} reads failed: {:?}", failed_reads.len(), failed_reads[0]);
    let failed_renewals = tally.failed_renewals.lock().unwrap().clone();
    assert!(
        failed_renewals.is_empty(),
        "{} renewals failed: {:?}",
        failed_renewals.len(),
        failed_renewals[0]
    );
    let writes: Vec<_> = tally.writes.lock().unwrap().clone();
    let mut wanted: BTreeMap<u64, BTreeMap<String, String>> = BTreeMap::new();
    for (n, took, stored) in writes {
        let version = stored.unwrap_or_else(|error| panic!("write {n} failed after {took:?}: {error:?}"));
        assert!(took < longest, "write {n} took {took:?}");
        let other = wanted.entry(n % KEYS).or_default().insert(version.clone(), format!("write {n}"));
        assert!(other.is_none(), "version {version} is {other:?} and {n}");
    }
    let api = &cluster.nodes[cluster.active().await];
    for (n, wanted) in wanted {
        let told = api.get(&format!("{mount}/metadata/write/{n}")).await;
        let versions = told["data"]["versions"].as_object().unwrap().len();
        assert_eq!(versions, wanted.len(), "key {n}: as many versions as writes");
        for (version, text) in wanted {
            let read = api.get(&format!("{mount}/data/write/{n}?version={version}")).await;
            assert_eq!(read["data"]["data"]["value"], json!(text));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_no_read_fails_and_each_write_is_there_once_when_the_active_node_is_killed() {
    let cluster = Cluster::whole().await;
    let active = cluster.active().await;
    let api = &cluster.nodes[active];
    let mount = api.kv("killed").await;
    prepare(&cluster, &mount).await;
    let database = Database::new(api).await;
    database.role(api, "app", "1h", "24h").await;
    let more = format!(r#"path "{}/creds/*" {{ capabilities = ["read"] }}"#, database.mount);
    let policy = api.policy(&mount, &more).await;
    // Logged in as workers are, with a log-in that is prolonged in the middle of it.
    let role = AppRole::new(api, json!({"token_period": "40s", "token_policies": ["default", policy]})).await;
    let settings = cluster.settings(&mount).with_auth(role.auth());
    let store = connect(settings.with_dynamic("db/", format!("{}/creds/", database.mount))).await.unwrap();
    let mut leases = Vec::new();
    for _ in 0..4 {
        let lent = store.retrieve_credential(&key("db/app"), &RetrieveOptions::default()).await.unwrap();
        leases.push(lent.lease.unwrap());
    }

    let load = Load::start(store, leases, &PolicySettings::default());
    load.await_writes(60).await;
    let begun = Instant::now();
    cluster.control("kill", active).await;
    // Those that wait come first.
    load.await_writes(60).await;
    println!("writes go on {:?} after the kill", begun.elapsed());
    load.await_writes(100).await;
    assert_ne!(load.provider.active().as_deref(), Some(cluster.nodes[active].address.as_str()));
    cluster.control("start", active).await;
    load.await_writes(60).await;
    eventually(PATIENCE, || async {
        load.provider.login().filter(|login| login.renewals > 0).ok_or("not prolonged")
    })
    .await
    .unwrap();
    let tally = load.stop().await;
    judge(&cluster, &mount, &tally, LONGEST_WRITE).await;
    cluster.await_voters().await;
    let api = &cluster.nodes[cluster.active().await];
    api.unmount(&database.mount).await;
    role.remove(api).await;
    api.unmount(&mount).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_no_read_fails_and_each_write_is_there_once_when_the_active_node_is_halted_or_sealed() {
    let cluster = Cluster::whole().await;
    let mount = cluster.nodes[cluster.active().await].kv("halted").await;
    prepare(&cluster, &mount).await;
    // A node that hangs is found out by time alone, and those that are left may take three elections to agree.
    let (mut settings, mut policies) = (cluster.settings(&mount), PolicySettings::default());
    settings.failover_timeout = HumanDuration(PATIENCE);
    policies.timeouts.margin = HumanDuration(2 * PATIENCE);
    let load = Load::start(connect(settings).await.unwrap(), Vec::new(), &policies);
    load.await_writes(20).await;

    let active = cluster.active().await;
    cluster.control("pause", active).await;
    load.await_writes(60).await;
    // It wakes, and believes that it is the active node still; of OpenBao 2.7 some believe so until they are killed.
    cluster.control("resume", active).await;
    load.await_writes(60).await;
    assert_ne!(load.provider.active().as_deref(), Some(cluster.nodes[active].address.as_str()));
    // Whoever comes now meets two that say they are active.
    let late = connect(cluster.settings(&mount)).await.unwrap();
    late.store_credential(&key("late"), "hunter2".into(), &StoreOptions::default()).await.unwrap();
    assert_ne!(late.active().as_deref(), Some(cluster.nodes[active].address.as_str()));
    cluster.control("kill", active).await;
    cluster.control("start", active).await;
    cluster.await_voters().await;

    let active = cluster.active().await;
    cluster.control("seal", active).await;
    load.await_writes(100).await;
    let tally = load.stop().await;
    // A node that is sealed is started anew to be unsealed.
    cluster.control("kill", active).await;
    cluster.control("start", active).await;
    judge(&cluster, &mount, &tally, 2 * PATIENCE).await;
    cluster.await_voters().await;
    cluster.nodes[cluster.active().await].unmount(&mount).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_sealed_node_is_told_with_its_remedy_and_others_are_asked_in_its_place() {
    let cluster = Cluster::whole().await;
    let active = cluster.active().await;
    let sealed = (active + 1) % 3;
    let mount = cluster.nodes[active].kv("sealed").await;
    cluster.control("seal", sealed).await;
    let mut settings = cluster.settings(&mount);
    // The sealed one, one that is not there, and the active one.
    let dead = "http://127.0.0.1:1".to_owned();
    settings.addresses =
        vec![cluster.nodes[sealed].address.clone(), dead, cluster.nodes[active].address.clone()];
    let store = connect(settings.clone()).await.unwrap();
    assert_eq!(store.active().as_deref(), Some(cluster.nodes[active].address.as_str()));
    store.store_credential(&key("a"), "hunter2".into(), &StoreOptions::default()).await.unwrap();
    store.retrieve_credential(&key("a"), &RetrieveOptions::default()).await.unwrap();
    settings.addresses.pop();
    let error = connect(settings).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.is_retryable() && error.to_string().contains("operator unseal"), "{error}");
    cluster.control("kill", sealed).await;
    cluster.control("start", sealed).await;
    cluster.await_voters().await;
    cluster.nodes[cluster.active().await].unmount(&mount).await;
}
