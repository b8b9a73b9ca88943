//! K2, K9: where workers may run and beside whom, and how many of them drains of nodes leave.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use common::{Bench, limit, on_cluster};
use hodei_worker_core::{
    WorkerPhase, WorkerProvider as _, WorkerRef,
    lifecycle::RecoverySettings,
    model::{RestartPolicy, WorkerConfigBuilder},
    provider::{CreateOptions, DeleteOptions, ScaleOptions},
    quantity::HumanDuration,
    status::FailureClass,
};
use hodei_worker_k8s::{
    KubernetesOptions, NeighbourRule, Neighbours, NodeCondition, NodeRule, PlacementOptions, SpreadRule,
};
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{
    Api,
    api::{EvictParams, ListParams},
    runtime::wait::await_condition,
};

const SLEEPS: &str = "trap 'exit 0' TERM; sleep 1000 & wait $!";

fn placed(bench: &Bench, id: &str, placement: PlacementOptions) -> WorkerConfigBuilder {
    let options = KubernetesOptions::default().user(65_534).placement(placement);
    bench.script(id, SLEEPS).stop_grace("1s").worker_type("db").options(&options)
}

async fn runs(bench: &Bench, worker: &WorkerRef) {
    bench.until(worker, |status| status.phase == WorkerPhase::Running).await;
}

/// It waits, and the scheduler says why.
async fn waits(bench: &Bench, worker: &WorkerRef, why: &str) {
    let status = bench.until(worker, |status| status.failure.is_some()).await;
    assert_eq!(status.failure, Some(FailureClass::Capacity), "{status:?}");
    assert!(status.reason.as_ref().unwrap().contains(why), "{status:?}");
}

#[tokio::test]
async fn k2_workers_that_keep_apart_do_not_share_a_node() {
    on_cluster("apart", |bench| async move {
        let others = Neighbours::Group("db".into());
        let apart = PlacementOptions::default().apart(others.clone());
        let first = bench.run(&placed(&bench, "a", apart.clone()).build().unwrap()).await;
        runs(&bench, &first).await;
        let second = bench.run(&placed(&bench, "b", apart).build().unwrap()).await;
        waits(&bench, &second, "anti-affinity").await;
        // Who would only rather not share it does; of another type, so that those there have nothing against it.
        let rather = PlacementOptions::default().apart(NeighbourRule::of(others).preferred(100));
        let third = placed(&bench, "c", rather).worker_type("web").build().unwrap();
        let third = bench.run(&third).await;
        runs(&bench, &third).await;
        bench.provider.delete_worker(&first, &DeleteOptions::default()).await.unwrap();
        runs(&bench, &second).await;
        // Beside whom is there, and beside nobody.
        let near = PlacementOptions::default().together(Neighbours::Group("web".into()));
        let fourth = bench.run(&placed(&bench, "d", near).worker_type("near").build().unwrap()).await;
        runs(&bench, &fourth).await;
        let nowhere = PlacementOptions::default().together(Neighbours::Group("nobody".into()));
        let fifth = bench.run(&placed(&bench, "e", nowhere).worker_type("near").build().unwrap()).await;
        waits(&bench, &fifth, "affinity").await;
    })
    .await;
}

#[tokio::test]
async fn k2_rules_for_nodes_are_kept_by_the_scheduler() {
    on_cluster("nodes", |bench| async move {
        let system = "kubernetes.io/os";
        let linux = PlacementOptions::default()
            .node(NodeRule::has(system, ["linux", "plan9"]))
            .node(NodeRule::of("hodei-worker.test/none", NodeCondition::Absent))
            .node(NodeRule::of(system, NodeCondition::Exists))
            .node(NodeRule::has(system, ["plan9"]).preferred(100));
        let worker = bench.run(&placed(&bench, "linux", linux).build().unwrap()).await;
        runs(&bench, &worker).await;
        let not = PlacementOptions::default()
            .node(NodeRule::of(system, NodeCondition::NotIn(vec!["linux".to_owned()])));
        let worker = bench.run(&placed(&bench, "not", not).build().unwrap()).await;
        waits(&bench, &worker, "node affinity").await;
        let many =
            PlacementOptions::default().node(NodeRule::of("hodei-worker.test/none", NodeCondition::Above(8)));
        let worker = bench.run(&placed(&bench, "many", many).build().unwrap()).await;
        waits(&bench, &worker, "node affinity").await;
    })
    .await;
}

#[tokio::test]
async fn k2_workers_are_spread_over_places_where_there_are_such() {
    on_cluster("spread", |bench| async move {
        let others = Neighbours::Group("db".into());
        // One node is one place: even.
        let nodes = PlacementOptions::default().spread(others.clone());
        for id in ["a", "b"] {
            let worker = bench.run(&placed(&bench, id, nodes.clone()).build().unwrap()).await;
            runs(&bench, &worker).await;
        }
        let zones =
            PlacementOptions::default().spread(SpreadRule::of(others.clone()).by("hodei-worker.test/zone"));
        let worker = bench.run(&placed(&bench, "c", zones).build().unwrap()).await;
        waits(&bench, &worker, "topology spread constraints").await;
        let rule = SpreadRule::of(others).by("hodei-worker.test/zone").best_effort();
        let rather = PlacementOptions::default().spread(rule);
        let worker = bench.run(&placed(&bench, "d", rather).build().unwrap()).await;
        runs(&bench, &worker).await;
    })
    .await;
}

#[tokio::test]
async fn k2_placement_that_cannot_be_is_refused_with_its_field() {
    on_cluster("wrong", |bench| async move {
        let empty = PlacementOptions::default().node(NodeRule::has("disk", Vec::<String>::new()));
        let weight = PlacementOptions::default().node(NodeRule::has("disk", ["ssd"]).preferred(0));
        let nobody = PlacementOptions::default().apart(Neighbours::Labels([].into()));
        let topology =
            PlacementOptions::default().spread(SpreadRule::of(Neighbours::Installation).by("not a label"));
        for (placement, field) in [
            (empty, "placement.nodes[0].is"),
            (weight, "placement.nodes[0].preference"),
            (nobody, "placement.apart[0].of"),
            (topology, "placement.spread[0].topology"),
        ] {
            let refused = match placed(&bench, "a", placement).build() {
                Err(refused) => refused,
                Ok(config) => {
                    bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err()
                }
            };
            assert!(refused.to_string().contains(field), "{refused}");
        }
        let two = KubernetesOptions::default().user(65_534).min_available(2);
        let two = bench.script("a", "true").options(&two).build().unwrap();
        let refused = bench.provider.create_worker(&two, &CreateOptions::default()).await.unwrap_err();
        assert!(refused.to_string().contains("min_available"), "{refused}");
    })
    .await;
}

fn pods(bench: &Bench) -> Api<Pod> {
    Api::namespaced(bench.provider.client(), "default")
}

fn budgets(bench: &Bench) -> Api<PodDisruptionBudget> {
    Api::namespaced(bench.provider.client(), "default")
}

/// Until the cluster has counted who may go.
async fn until_allowed(bench: &Bench, name: &str, count: i32) {
    let counted = |found: Option<&PodDisruptionBudget>| {
        let status = found.and_then(|found| found.status.as_ref());
        status.is_some_and(|status| status.disruptions_allowed == count && status.current_healthy > 0)
    };
    limit(Box::pin(await_condition(budgets(bench), name, counted))).await.unwrap();
}

/// The API server's answer to who drains a node.
async fn evict(bench: &Bench, pod: &str) -> u16 {
    match pods(bench).evict(pod, &EvictParams::default()).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn k9_a_worker_that_is_to_be_left_alone_is_not_evicted_and_any_other_is() {
    on_cluster("evict", |bench| async move {
        let options = KubernetesOptions::default().user(65_534);
        let config = |id: &str, options: &KubernetesOptions| {
            bench.script(id, SLEEPS).stop_grace("1s").options(options).build().unwrap()
        };
        let kept = bench.run(&config("kept", &options.clone().min_available(1))).await;
        let other = bench.run(&config("other", &options)).await;
        let before = bench.until(&kept, |status| status.phase == WorkerPhase::Running).await;
        runs(&bench, &other).await;
        let name = |id: &str| format!("hodei.{}.{id}.1", bench.installation);
        until_allowed(&bench, &name("kept"), 0).await;
        assert_eq!(evict(&bench, &name("kept")).await, 429);
        assert_eq!(evict(&bench, &name("other")).await, 200);
        bench.until(&other, |status| status.phase == WorkerPhase::Absent).await;
        let now = bench.provider.get_worker_status(&kept).await.unwrap();
        assert_eq!((now.phase, &now.run), (WorkerPhase::Running, &before.run));
        // What was asked of the host itself is another matter.
        bench.provider.delete_worker(&kept, &DeleteOptions::default()).await.unwrap();
        let gone = |found: Option<&PodDisruptionBudget>| found.is_none();
        limit(Box::pin(await_condition(budgets(&bench), &name("kept"), gone))).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn k9_of_a_group_so_many_are_left_running() {
    on_cluster("least", |bench| async move {
        let options = KubernetesOptions::default().user(65_534).min_available(1);
        let template = bench.script("web", SLEEPS).stop_grace("1s").options(&options).build().unwrap();
        let options = ScaleOptions::default().with_template(template);
        let group = "web".parse().unwrap();
        let members = bench.provider.scale_workers(&group, 2, &options).await.unwrap();
        let name = format!("hodei.{}.web", bench.installation);
        until_allowed(&bench, &name, 1).await;
        let of = |n: usize| format!("hodei.{}.{}", bench.installation, members[n]);
        assert_eq!(evict(&bench, &of(0)).await, 200);
        // At once: the cluster has counted the first at its eviction.
        assert_eq!(evict(&bench, &of(1)).await, 429);
        bench.provider.scale_workers(&group, 0, &options).await.unwrap();
        let gone = |found: Option<&PodDisruptionBudget>| found.is_none();
        limit(Box::pin(await_condition(budgets(&bench), &name, gone))).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn k10_how_long_a_lost_node_is_borne_is_the_recoverys_and_no_other() {
    on_cluster("borne", |bench| async move {
        let mut recovery = RecoverySettings::default();
        recovery.node_loss = HumanDuration::secs(7);
        let again = RestartPolicy::OnFailure { max_retries: None };
        bench.create(&bench.script("once", "true").build().unwrap()).await;
        bench.create(&bench.script("usual", "true").restart_policy(again).build().unwrap()).await;
        let own = bench.script("own", "true").restart_policy(again).recovery(recovery);
        bench.create(&own.build().unwrap()).await;
        let ours = format!("hodei-worker/installation={}", bench.installation);
        let all = pods(&bench).list(&ListParams::default().labels(&ours)).await.unwrap();
        for pod in all {
            let wanted = match pod.metadata.name.unwrap() {
                name if name.contains(".own.") => Some(7),
                name if name.contains(".usual.") => Some(30),
                // Nobody may start it again: it is not ended either.
                _ => None,
            };
            let borne = pod.spec.unwrap().tolerations.unwrap();
            let seconds: Vec<_> = borne.iter().map(|one| one.toleration_seconds).collect();
            assert_eq!(seconds, [wanted, wanted], "the cluster adds none: {borne:?}");
        }
    })
    .await;
}
