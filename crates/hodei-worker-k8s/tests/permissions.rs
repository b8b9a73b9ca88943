//! K12, K1: under the Role that is generated a host can do all that it has to, and nothing in it is in vain.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use common::{account::Account, connect, installation, limit, settings};
use futures::{StreamExt as _, stream};
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerConfig, WorkerObservation, WorkerPhase, WorkerProvider as _, WorkerRef,
    model::{InstallationId, Mount, Port, ScalingConfiguration, SecretReference},
    provider::{
        AutoscaleOptions, CreateOptions, DeleteOptions, ExecOptions, LogOptions, ScaleOptions, StartOptions,
        StatsOptions, WatchOptions, WorkerFilter, WorkerProviderExt as _,
    },
};
use hodei_worker_k8s::{
    ClusterFeature, ConfigMapOptions, KubernetesOptions, KubernetesProvider, PermissionRule, Permissions,
    ServiceOptions, TrafficOptions,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

/// Longer than any life takes on a busy machine.
const LIFE: Duration = Duration::from_secs(120);
/// Lives that are led at once.
const AT_ONCE: usize = 4;

fn config(id: &str, name: &str) -> WorkerConfig {
    let options = KubernetesOptions::default().user(65_534).service(ServiceOptions::of_group(name));
    let options = options.config_map(ConfigMapOptions::new(name, "/etc/app").file("level", "debug"));
    let options = options.traffic(TrafficOptions::none()).min_available(1);
    let builder = WorkerConfig::builder(id).image(common::variable("HODEI_TEST_KUBERNETES_IMAGE").as_str());
    builder
        .worker_type("web")
        .command(["sh", "-c", "echo here; sleep 1000"])
        .stop_grace("1s")
        .mount(Mount::volume(name, "/data"))
        .port(Port::tcp(8080))
        .secret(SecretReference::file("db/password", "/run/secrets/db"))
        .options(&options)
        .build()
        .unwrap()
}

fn member() -> WorkerConfig {
    let builder =
        WorkerConfig::builder("group").image(common::variable("HODEI_TEST_KUBERNETES_IMAGE").as_str());
    let builder = builder.command(["sleep", "1000"]).stop_grace("1s");
    builder.options(&KubernetesOptions::default().user(65_534)).build().unwrap()
}

/// All that a host does, once. A volume that is held lives on until somebody lets go of it.
async fn live(provider: &KubernetesProvider, admin: &Client, name: &str, holds_volume: bool) -> Result<()> {
    let mut changes = provider.watch_workers(&WatchOptions::default()).await?;
    while let Some(change) = limit(changes.next()).await {
        if change? == WorkerObservation::Synced {
            break;
        }
    }
    provider.list_workers(&WorkerFilter::all()).await?;
    let mut workers = Vec::new();
    // The second finds the volume and the Service there.
    for id in ["a", "b"] {
        let handle = provider.create_worker(&config(id, name), &CreateOptions::default()).await?;
        // As if the creation had been cut off: it is repeated.
        let cut_off = json!({"metadata": {"annotations": {"hodei-worker/pending": ""}}});
        let pods: Api<Pod> = Api::namespaced(admin.clone(), "default");
        let pod =
            pods.list(&ListParams::default().labels(&format!("hodei-worker/id={id}"))).await.unwrap().items;
        let of_ours = |pod: &&Pod| pod.metadata.uid.as_deref() == Some(&*handle.native_id);
        let pod = pod.iter().find(of_ours).unwrap().metadata.name.clone().unwrap();
        pods.patch(&pod, &PatchParams::default(), &Patch::Merge(cut_off)).await.unwrap();
        provider.create_worker(&config(id, name), &CreateOptions::default()).await?;
        if id == "a" {
            // As if a start had been cut off.
            let left = json!({"metadata": {"name": pod, "labels": {
                "hodei-worker/installation": format!("{name}-{:08x}", std::process::id()),
                "hodei-worker/id": id,
                "hodei-worker/type": "web",
            }}});
            let secrets: Api<Secret> = Api::namespaced(admin.clone(), "default");
            let left = serde_json::from_value(left).unwrap();
            secrets.create(&PostParams::default(), &left).await.unwrap();
        }
        provider.start_worker(&handle.worker, &StartOptions::default()).await?;
        workers.push(handle.worker);
    }
    limit(provider.wait_until(&workers[0], &|status| status.phase == WorkerPhase::Running)).await?;
    provider.get_worker_status(&workers[0]).await?;
    provider.collect_logs(&workers[0], &LogOptions::all()).await?;
    provider.worker_stats(&workers[0], &StatsOptions::default()).await?;
    provider.exec_in_worker(&workers[0], &ExecOptions::new(["true"])).await?.exit().await?;
    drop(provider.attach(&workers[0]).await?);
    drop(provider.connect_worker_port(&workers[0], 80).await?);
    provider.delete_worker(&workers[0], &DeleteOptions::default()).await?;
    let group = "group".parse().unwrap();
    let options = ScaleOptions::default().with_template(member());
    provider.scale_workers(&group, 1, &options).await?;
    let scaling = ScalingConfiguration::between(1, 2);
    provider.autoscale(&group, &AutoscaleOptions::by(scaling)).await?;
    provider.autoscaler(&group).await?;
    provider.scaling_events(&group).await?;
    provider.autoscale(&group, &AutoscaleOptions::default()).await?;
    provider.scale_workers(&group, 0, &options).await?;
    if holds_volume {
        hold(admin, name, &["hodei-worker.test/held"]).await.unwrap();
    }
    // The last one takes the volume along.
    provider.delete_worker(&workers[1], &DeleteOptions::default()).await?;
    Ok(())
}

/// Has the cluster keep a volume for as long as it has finalizers.
async fn hold(admin: &Client, volume: &str, finalizers: &[&str]) -> kube::Result<()> {
    let patch = json!({"metadata": {"finalizers": finalizers}});
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(admin.clone(), "default");
    claims.patch(volume, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

/// Everything of an installation goes, whoever made it.
async fn clear(installation: &InstallationId, admin: &Client, name: &str) {
    let all = connect(installation, settings()).await;
    let group = "group".parse().unwrap();
    all.autoscale(&group, &AutoscaleOptions::default()).await.unwrap();
    limit(all.scale_workers(&group, 0, &ScaleOptions::default())).await.unwrap();
    for status in all.list_workers(&WorkerFilter::all()).await.unwrap().workers {
        limit(all.delete_worker(&status.worker, &DeleteOptions::default())).await.unwrap();
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(admin.clone(), "default");
    let released = async {
        hold(admin, name, &[]).await?;
        claims.delete(name, &DeleteParams::default()).await
    };
    // It is gone with its worker, or goes meanwhile.
    released.await.map(drop).or_else(|error| if is_not_found(&error) { Ok(()) } else { Err(error) }).unwrap();
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

/// What becomes of a life under all permissions less one.
async fn under(admin: &Client, without: Option<&PermissionRule>) -> (Result<()>, Vec<String>) {
    static LIVES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("life-{}-{:08x}", LIVES.fetch_add(1, Ordering::Relaxed), std::process::id());
    let installation = installation(&name);
    let account = Account::new(admin.clone(), &name, &Permissions::all(), without).await;
    let provider = connect(&installation, account.settings()).await;
    let missing = provider.missing_permissions(&Permissions::all()).await.unwrap();
    // One that goes at once is not waited for, so that nobody has to watch it.
    let holds_volume = without.is_some_and(|one| one.to_string() == "watch persistentvolumeclaims");
    let lived = tokio::time::timeout(LIFE, live(&provider, admin, &name, holds_volume)).await;
    let lived = lived.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "it waits for ever")));
    clear(&installation, admin, &name).await;
    account.remove().await;
    (lived, missing.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn k12_every_verb_of_the_role_is_needed_and_none_is_missing() {
    let admin = connect(&installation("admin"), settings()).await.client();
    let (lived, missing) = under(&admin, None).await;
    lived.unwrap();
    assert_eq!(missing, [""; 0]);
    let minor: u32 = admin.apiserver_version().await.unwrap().minor.parse().unwrap();
    let asks_for_create = minor >= 35;
    let opened_by_get = ["exec", "attach", "portforward"].map(|what| format!("create pods/{what}"));
    let rules = Permissions::all().rules();
    let each: Vec<PermissionRule> = rules
        .iter()
        .flat_map(|rule| {
            let one = |verb: &String| {
                let mut one = rule.clone();
                one.verbs = vec![verb.clone()];
                one
            };
            rule.verbs.iter().map(one).collect::<Vec<_>>()
        })
        // API servers before 1.35 do not ask for it.
        .filter(|one| asks_for_create || !opened_by_get.contains(&one.to_string()))
        .collect();
    let admin = &admin;
    let outcomes: Vec<_> = stream::iter(each)
        .map(|without| async move {
            let (lived, missing) = under(admin, Some(&without)).await;
            (without.to_string(), lived, missing)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for (without, lived, missing) in outcomes {
        assert_eq!(missing, std::slice::from_ref(&without));
        let refused = lived.expect_err(&without);
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "without {without}: {refused}");
    }
}

#[tokio::test]
async fn k6_a_deletion_that_was_cut_off_is_gone_on_with_and_takes_the_claim() {
    let admin = connect(&installation("admin"), settings()).await.client();
    let name = format!("cut-{:08x}", std::process::id());
    let installation = installation(&name);
    let features = [
        ClusterFeature::Volumes,
        ClusterFeature::Services,
        ClusterFeature::Secrets,
        ClusterFeature::ConfigMaps,
        ClusterFeature::NetworkPolicies,
        ClusterFeature::DisruptionBudgets,
    ];
    let permissions = features.into_iter().fold(Permissions::for_workers(), Permissions::and);
    let account = Account::new(admin.clone(), &name, &permissions, None).await;
    let provider = connect(&installation, account.settings()).await;
    let handle = provider.create_worker(&config("a", &name), &CreateOptions::default()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(admin.clone(), "default");
    pods.delete(&format!("hodei.{installation}.a.1"), &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    let worker: WorkerRef = handle.worker;
    limit(provider.wait_until(&worker, &|status| status.phase == WorkerPhase::Absent)).await.ok();
    provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(admin.clone(), "default");
    let left = claims.get_opt(&name).await.unwrap();
    clear(&installation, &admin, &name).await;
    account.remove().await;
    assert!(left.is_none_or(|claim| claim.metadata.deletion_timestamp.is_some()), "the claim is left");
}
