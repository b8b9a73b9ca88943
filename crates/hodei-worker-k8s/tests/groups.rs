//! K5: groups that the cluster keeps at their size, and sizes by itself.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{collections::BTreeSet, time::Duration};

use common::{Bench, adapter::Adapter, admin, limit, on_cluster};
use futures::StreamExt as _;
use hodei_worker_core::{
    ErrorKind, WorkerConfig, WorkerId, WorkerObservation, WorkerPhase, WorkerProvider as _, WorkerRef,
    model::{GroupRef, Mount, Port, ScalingConfiguration, SecretReference, WorkerConfigBuilder},
    provider::{
        AutoscaleOptions, DeleteOptions, ExecOptions, LogOptions, ScaleOptions, WatchOptions, WorkerFilter,
        WorkerProviderExt as _,
    },
    quantity::ByteSize,
    testkit::eventually,
};
use hodei_worker_k8s::{
    AutoscalerOptions, ConfigMapOptions, KubernetesOptions, ScalingMetric, ScalingPace, ServiceOptions,
    TrafficOptions,
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Namespace, ResourceQuota, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
    },
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, PostParams},
    runtime::wait::await_condition,
};
use serde::de::DeserializeOwned;

const PATIENCE: Duration = Duration::from_secs(120);
const SLEEPS: &str = "trap 'exit 0' TERM; echo ready; sleep 1000 & wait $!";

fn web() -> GroupRef {
    "web".parse().unwrap()
}

fn template(bench: &Bench, script: &str) -> WorkerConfigBuilder {
    bench.script("web", script).worker_type("web").stop_grace("1s")
}

async fn scale(bench: &Bench, size: usize, template: &WorkerConfig) -> Vec<WorkerId> {
    let options = ScaleOptions::default().with_template(template.clone());
    limit(bench.provider.scale_workers(&web(), size, &options)).await.unwrap()
}

/// Waits until it has so many members that run.
async fn until_running(bench: &Bench, size: usize) {
    let options = WatchOptions::filter(WorkerFilter::worker_type(web()));
    let mut changes = bench.provider.watch_workers(&options).await.unwrap();
    let (mut running, mut is_whole) = (BTreeSet::new(), false);
    limit(async {
        while !is_whole || running.len() != size {
            match changes.next().await.unwrap().unwrap() {
                WorkerObservation::Listed(status) | WorkerObservation::Applied(status) => {
                    match status.phase {
                        WorkerPhase::Running => running.insert(status.worker.clone()),
                        _ => running.remove(&status.worker),
                    };
                }
                WorkerObservation::Gone(gone) => {
                    running.remove(&gone.worker);
                }
                WorkerObservation::Synced => is_whole = true,
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn k5_a_group_is_scaled_by_cpu_and_says_so() {
    on_cluster("cpu", |bench| async move {
        let burn = "while :; do :; done";
        let template = template(&bench, burn).cpu_request("100m").cpu_limit("200m").build().unwrap();
        assert_eq!(scale(&bench, 1, &template).await.len(), 1);
        let by = AutoscaleOptions::by({
            let mut scaling = ScalingConfiguration::between(1, 3);
            scaling.target_cpu_percent = Some(50);
            scaling
        });
        bench.provider.autoscale(&web(), &by).await.unwrap();
        until_running(&bench, 3).await;
        let written = async || {
            let events = bench.provider.scaling_events(&web()).await.unwrap();
            if events.iter().any(|event| event.size == Some(3)) { Ok(events) } else { Err(events) }
        };
        let events = eventually(PATIENCE, written).await.unwrap();
        let grown = events.iter().find(|event| event.size == Some(3)).unwrap();
        assert_eq!(grown.reason, "SuccessfulRescale");
        assert!(grown.message.contains("cpu"), "{grown:?}");
        let told = bench.provider.autoscaler(&web()).await.unwrap().unwrap();
        assert_eq!((told.min, told.max, told.desired), (1, 3, 3));
        assert!(told.last_scaled.is_some() && told.problem.is_none(), "{told:?}");
        // One of both.
        let by_hand = bench.provider.scale_workers(&web(), 1, &ScaleOptions::default()).await.unwrap_err();
        assert_eq!(by_hand.kind(), ErrorKind::Conflict, "{by_hand}");
        bench.provider.autoscale(&web(), &AutoscaleOptions::default()).await.unwrap();
        assert_eq!(bench.provider.autoscaler(&web()).await.unwrap(), None);
        assert_eq!(scale(&bench, 0, &template).await, []);
    })
    .await;
}

#[tokio::test]
async fn k5_memory_scales_a_group() {
    on_cluster("memory", |bench| async move {
        let template = template(&bench, SLEEPS).memory_request("16Mi").build().unwrap();
        scale(&bench, 1, &template).await;
        // A shell uses more than that.
        let by = AutoscalerOptions::default().metric(ScalingMetric::Memory { target: ByteSize::kib(16) });
        let between = ScalingConfiguration::between(1, 2);
        bench.provider.autoscale_by(&web(), &between, &by).await.unwrap();
        until_running(&bench, 2).await;
        assert_eq!(bench.provider.autoscaler(&web()).await.unwrap().unwrap().desired, 2);
    })
    .await;
}

#[tokio::test]
async fn k5_metrics_of_the_members_and_of_others_scale_a_group_at_the_pace_that_it_may() {
    on_cluster("metrics", |bench| async move {
        let adapter = Adapter::start(admin().await).await;
        adapter.each_pod("requests", 1);
        adapter.external("queue", 20);
        scale(&bench, 1, &template(&bench, SLEEPS).build().unwrap()).await;
        let at_once = ScalingPace::default().stabilized(Duration::ZERO).pods(1, Duration::from_secs(1));
        let by = AutoscalerOptions::default()
            .metric(ScalingMetric::pods("requests", 10))
            .metric(ScalingMetric::external("queue", 10))
            .scale_down(at_once);
        let between = ScalingConfiguration::between(1, 3);
        bench.provider.autoscale_by(&web(), &between, &by).await.unwrap();
        until_running(&bench, 2).await;
        adapter.each_pod("requests", 15);
        until_running(&bench, 3).await;
        adapter.each_pod("requests", 1);
        adapter.external("queue", 1);
        until_running(&bench, 1).await;
        // It stays as it is where it may not shrink.
        adapter.external("queue", 20);
        until_running(&bench, 2).await;
        let never = by.scale_down(ScalingPace::never().stabilized(Duration::ZERO));
        bench.provider.autoscale_by(&web(), &between, &never).await.unwrap();
        adapter.external("queue", 1);
        let name = format!("hodei.{}.web", bench.installation);
        let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(bench.provider.client(), "default");
        // It has looked: the metric is the new one.
        let looked = |found: Option<&HorizontalPodAutoscaler>| {
            let text = serde_json::to_string(&found.and_then(|found| found.status.clone())).unwrap();
            text.contains("\"averageValue\":\"500m\"")
        };
        limit(Box::pin(await_condition(autoscalers, &name, looked))).await.unwrap();
        assert_eq!(bench.provider.autoscaler(&web()).await.unwrap().unwrap().desired, 2);
        adapter.remove().await;
    })
    .await;
}

async fn is_there<K>(client: &Client, name: &str) -> bool
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    Api::<K>::namespaced(client.clone(), "default").get_opt(name).await.unwrap().is_some()
}

#[tokio::test]
async fn k5_a_group_has_its_objects_and_takes_them_along() {
    on_cluster("around", |bench| async move {
        let own = format!("around-{:08x}", std::process::id());
        let options = KubernetesOptions::default().user(65_534).service(ServiceOptions::of_group(&own));
        let options = options.config_map(ConfigMapOptions::new(&own, "/etc/app").file("level", "debug"));
        let options = options.traffic(TrafficOptions::none());
        let template = template(&bench, SLEEPS).port(Port::tcp(8080)).options(&options);
        let template =
            template.secret(SecretReference::file("db/password", "/run/secrets/db")).build().unwrap();
        let members = scale(&bench, 2, &template).await;
        until_running(&bench, 2).await;
        let member = WorkerRef::first(members[0].clone());
        let read = ExecOptions::new(["sh", "-c", "cat /etc/app/level /run/secrets/db"]);
        let session = bench.provider.exec_in_worker(&member, &read).await.unwrap();
        let output = limit(session.collect()).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "debugplanted-hunter2", "{output:?}");
        let logs = limit(bench.provider.collect_logs(&member, &LogOptions::all())).await.unwrap();
        assert_eq!(logs, b"ready\n");
        let client = bench.provider.client();
        let group = format!("hodei.{}.web", bench.installation);
        assert!(is_there::<Service>(&client, &own).await && is_there::<ConfigMap>(&client, &own).await);
        assert!(
            is_there::<Secret>(&client, &group).await && is_there::<NetworkPolicy>(&client, &group).await
        );
        // One that is removed is made anew: the group has its size.
        limit(bench.provider.delete_worker(&member, &DeleteOptions::default())).await.unwrap();
        until_running(&bench, 2).await;
        let other = WorkerFilter::id(members[1].clone());
        assert_eq!(bench.provider.list_workers(&other).await.unwrap().workers.len(), 1);
        let listed = bench.provider.list_workers(&WorkerFilter::worker_type(web())).await.unwrap();
        assert!(listed.workers.iter().all(|status| status.worker != member), "{listed:?}");
        assert_eq!(scale(&bench, 0, &template).await, []);
        let gone = async || {
            let is_left = is_there::<Service>(&client, &own).await
                || is_there::<ConfigMap>(&client, &own).await
                || is_there::<Secret>(&client, &group).await
                || is_there::<NetworkPolicy>(&client, &group).await;
            if is_left { Err("something is left of it") } else { Ok(()) }
        };
        eventually(PATIENCE, gone).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn k5_a_member_that_ends_is_begun_again_by_the_cluster() {
    on_cluster("again", |bench| async move {
        let members = scale(&bench, 1, &template(&bench, "echo one; sleep 1; exit 3").build().unwrap()).await;
        let member = WorkerRef::first(members[0].clone());
        let first = bench.until(&member, |status| status.phase == WorkerPhase::Running).await;
        let again = bench
            .until(&member, |status| status.phase == WorkerPhase::Running && status.run != first.run)
            .await;
        assert_eq!(again.native_id, first.native_id);
        // What it writes is read over its runs, each line once.
        let read = bench.provider.worker_logs(&member, &LogOptions::following()).await.unwrap();
        let lines: Vec<_> = limit(read.take(3).collect()).await;
        assert!(lines.iter().all(Result::is_ok), "{lines:?}");
    })
    .await;
}

#[tokio::test]
async fn k5_what_cannot_be_a_group_is_refused_before_anything_exists() {
    on_cluster("bad", |bench| async move {
        let with_volume = template(&bench, SLEEPS).mount(Mount::volume("data", "/data"));
        let of_one = KubernetesOptions::default().user(65_534).service(ServiceOptions::of_worker("one"));
        let of_one = template(&bench, SLEEPS).port(Port::tcp(80)).options(&of_one);
        let of_others = bench.script("web", SLEEPS).worker_type("others");
        for (builder, field) in [
            (with_volume, "mounts[0].source"),
            (of_one, "options.kubernetes.services[0].of"),
            (of_others, "metadata.worker_type"),
        ] {
            let options = ScaleOptions::default().with_template(builder.build().unwrap());
            let refused = bench.provider.scale_workers(&web(), 1, &options).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Config, "{refused}");
            assert!(refused.to_string().contains(field), "{refused}");
        }
        let long: GroupRef = "a".repeat(24).parse().unwrap();
        let options = ScaleOptions::default().with_template(bench.script("long", SLEEPS).build().unwrap());
        let refused = bench.provider.scale_workers(&long, 1, &options).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config, "{refused}");
        assert!(refused.to_string().contains("leaves 23 characters"), "{refused}");
        let between = ScalingConfiguration::between;
        for (scaling, kind, field) in [
            (between(0, 3), ErrorKind::Config, "scaling.min"),
            (between(3, 1), ErrorKind::Config, "scaling.max"),
            (between(1, 3), ErrorKind::NotFound, "no group `web`"),
        ] {
            let refused = bench.provider.autoscale(&web(), &AutoscaleOptions::by(scaling)).await.unwrap_err();
            assert_eq!(refused.kind(), kind, "{refused}");
            assert!(refused.to_string().contains(field), "{refused}");
        }
        assert_eq!(bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn k5_a_group_that_a_quota_keeps_small_is_told() {
    let client = admin().await;
    let name = format!("small-{:08x}", std::process::id());
    let namespace = serde_json::json!({"metadata": {"name": name}});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
    let quota = serde_json::json!({"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}});
    let quotas: Api<ResourceQuota> = Api::namespaced(client, &name);
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    // A namespace that is new has neither at once.
    let counted = |quota: Option<&ResourceQuota>| quota.is_some_and(|quota| quota.status.is_some());
    limit(Box::pin(await_condition(quotas, "one", counted))).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(admin().await, &name);
    let is_there = |account: Option<&ServiceAccount>| account.is_some();
    limit(Box::pin(await_condition(accounts, "default", is_there))).await.unwrap();
    let installation = common::installation("small");
    let provider = common::connect(&installation, common::settings().in_namespace(&name)).await;
    let config = WorkerConfig::builder("web").image(common::variable("HODEI_TEST_KUBERNETES_IMAGE").as_str());
    let config = config.worker_type("web").command(["sh", "-c", SLEEPS]);
    let config = config.options(&KubernetesOptions::default().user(65_534)).build().unwrap();
    let options = ScaleOptions::default().with_template(config);
    let refused = limit(provider.scale_workers(&web(), 2, &options)).await;
    // It is not held against it when it asks for less.
    let one = limit(provider.scale_workers(&web(), 1, &options)).await;
    namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded, "{refused}");
    assert_eq!(one.unwrap().len(), 1);
}
