//! K3, K4, K6, K7: what a cluster has besides pods, made for workers and gone with them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use common::{Bench, limit, on_cluster};
use hodei_worker_core::{
    ErrorKind, WorkerConfig, WorkerPhase, WorkerProvider as _, WorkerRef,
    model::{HealthCheckConfig, Mount, Port, Probe, WorkerConfigBuilder},
    provider::{
        CreateOptions, DeleteOptions, ExecOptions, LogOptions, StartOptions, StopOptions,
        WorkerProviderExt as _,
    },
    quantity::HumanDuration,
};
use hodei_worker_k8s::{
    AccessMode, ClaimOptions, ConfigMapOptions, KubernetesOptions, ServiceOptions, TrafficOptions,
    TrafficPeer,
};
use k8s_openapi::api::{
    core::v1::{ConfigMap, PersistentVolumeClaim, Service},
    discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy,
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};

fn api<K>(bench: &Bench) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(bench.provider.client(), "default")
}

/// Asks again and again, until it is so.
async fn until<F: Future<Output = bool>>(look: impl Fn() -> F) {
    limit(async {
        let mut again = tokio::time::interval(Duration::from_millis(100));
        while !look().await {
            again.tick().await;
        }
    })
    .await;
}

async fn until_gone<K>(all: &Api<K>, name: &str)
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    until(|| async { all.get_opt(name).await.unwrap().is_none() }).await;
}

async fn until_answered_by(address: &str, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    until(|| async { who(address).await == expected }).await;
}

/// A worker that serves its own name, and is ready while `/www/ready` is there.
fn server(bench: &Bench, id: &str, options: &KubernetesOptions) -> WorkerConfigBuilder {
    let script = format!("echo {id} >/www/index.html; touch /www/ready; exec httpd -f -p 8080 -h /www");
    let check = HealthCheckConfig::new(Probe::command(["test", "-e", "/www/ready"]));
    bench
        .script(id, &script)
        .worker_type("web")
        .mount(Mount::tmpfs("/www", None))
        .port(Port::tcp(8080))
        .health_check(check.every(HumanDuration::secs(1)).thresholds(1, 1))
        .options(options)
}

/// What stands at an address, from outside of the cluster.
fn ask(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.lines().last()?.to_owned())
}

/// Who answers there, of many who ask.
async fn who(address: &str) -> BTreeSet<String> {
    let address = address.to_owned();
    tokio::task::spawn_blocking(move || (0..40).filter_map(|_| ask(&address)).collect()).await.unwrap()
}

#[tokio::test]
async fn k3_a_service_balances_over_those_of_a_group_that_are_ready_and_goes_with_the_last() {
    on_cluster("balance", |bench| async move {
        let name = format!("web-{:08x}", std::process::id());
        let options = KubernetesOptions::default().user(65_534).service(ServiceOptions::of_group(&name));
        let mut workers = BTreeMap::new();
        for id in ["one", "two", "three"] {
            workers.insert(id, bench.run(&server(&bench, id, &options).build().unwrap()).await);
        }
        let services = api::<Service>(&bench);
        let service = services.get(&name).await.unwrap();
        assert_eq!(service.metadata.owner_references.unwrap().len(), 3);
        let address = format!("{}:8080", service.spec.unwrap().cluster_ip.unwrap());
        until_answered_by(&address, &["one", "two", "three"]).await;
        // One that is not ready gets nothing, and comes back.
        for (command, expected) in [("rm", &["one", "three"][..]), ("touch", &["one", "two", "three"])] {
            let exec = ExecOptions::new([command, "/www/ready"]);
            let session = bench.provider.exec_in_worker(&workers["two"], &exec).await.unwrap();
            assert!(session.exit().await.unwrap().is_success());
            until_answered_by(&address, expected).await;
        }
        // It stays with those that are left, and goes with the last.
        for id in ["one", "two"] {
            bench.provider.delete_worker(&workers[id], &DeleteOptions::default()).await.unwrap();
        }
        until_answered_by(&address, &["three"]).await;
        bench.provider.delete_worker(&workers["three"], &DeleteOptions::default()).await.unwrap();
        until_gone(&services, &name).await;
    })
    .await;
}

#[tokio::test]
async fn k3_a_workers_own_service_outlives_its_generations_and_others_are_left_alone() {
    on_cluster("own", |bench| async move {
        let name = format!("own-{:08x}", std::process::id());
        let options =
            KubernetesOptions::default().user(65_534).service(ServiceOptions::of_worker(&name).headless());
        let config = server(&bench, "a", &options).build().unwrap();
        let first = bench.run(&config).await;
        let services = api::<Service>(&bench);
        let made = services.get(&name).await.unwrap();
        assert_eq!(made.spec.unwrap().cluster_ip.as_deref(), Some("None"));
        let mut next = CreateOptions::default();
        next.generation = first.generation.next();
        let second = bench.provider.create_worker(&config, &next).await.unwrap().worker;
        bench.provider.start_worker(&second, &StartOptions::default()).await.unwrap();
        bench.provider.delete_worker(&first, &DeleteOptions::default()).await.unwrap();
        bench.until(&second, |status| status.phase == WorkerPhase::Running).await;
        // Its endpoint is the second's by now.
        let selected = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
        let slices = api::<EndpointSlice>(&bench);
        let pod = format!("hodei.{}.a.2", bench.installation);
        until(|| async {
            let slices = slices.list(&selected).await.unwrap().items;
            let targets = slices.into_iter().flat_map(|slice| slice.endpoints);
            let targets: Vec<_> = targets.filter_map(|one| one.target_ref?.name).collect();
            targets == [pod.clone()]
        })
        .await;
        let uid = services.get(&name).await.unwrap().metadata.uid;
        assert_eq!(uid, made.metadata.uid, "it is the same Service");
        // One that somebody else has made is no worker's, and nothing is left of the worker that wants its name.
        let theirs = serde_json::json!({
            "metadata": {"name": format!("{name}-theirs")}, "spec": {"clusterIP": "None", "selector": {"a": "b"}},
        });
        let theirs: Service = serde_json::from_value(theirs).unwrap();
        services.create(&PostParams::default(), &theirs).await.unwrap();
        let options = KubernetesOptions::default().user(65_534);
        let options = options.service(ServiceOptions::of_worker(format!("{name}-theirs")));
        let config = server(&bench, "b", &options).build().unwrap();
        let refused = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
        let left = services.get(&format!("{name}-theirs")).await.unwrap();
        services.delete(&format!("{name}-theirs"), &kube::api::DeleteParams::default()).await.unwrap();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
        assert_eq!(left.metadata.owner_references, None);
        let status = bench.provider.get_worker_status(&WorkerRef::first("b".parse().unwrap())).await.unwrap();
        assert_eq!(status.phase, WorkerPhase::Absent);
    })
    .await;
}

#[tokio::test]
async fn k3_a_service_that_cannot_be_is_refused_before_anything_is_made() {
    on_cluster("refused", |bench| async move {
        let with = |service: ServiceOptions| KubernetesOptions::default().user(65_534).service(service);
        for (config, field) in [
            (
                bench.script("a", "true").options(&with(ServiceOptions::of_worker("Web"))).build(),
                "services[0].name",
            ),
            (
                bench.script("a", "true").options(&with(ServiceOptions::of_worker("9"))).build(),
                "services[0].name",
            ),
        ] {
            let refused = match config {
                Err(refused) => refused,
                Ok(config) => {
                    bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err()
                }
            };
            assert_eq!(refused.kind(), ErrorKind::Config);
            assert!(refused.to_string().contains(field), "{refused}");
        }
        let no_ports = bench.script("a", "true").options(&with(ServiceOptions::of_worker("web")));
        let no_group =
            bench.script("a", "true").port(Port::tcp(1)).options(&with(ServiceOptions::of_group("web")));
        for (config, why) in [(no_ports, "ports"), (no_group, "type")] {
            let config: WorkerConfig = config.build().unwrap();
            let refused = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Config);
            assert!(refused.to_string().contains(why), "{refused}");
        }
        assert!(api::<Service>(&bench).get_opt("web").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn k6_a_claim_is_made_as_it_was_asked_for_and_goes_with_its_last_user() {
    on_cluster("claims", |bench| async move {
        let name = format!("data-{:08x}", std::process::id());
        let claim =
            ClaimOptions::of("2Mi".parse().unwrap()).storage_class("folders").access(AccessMode::AllNodes);
        let options = KubernetesOptions::default().user(65_534).claim(&name, claim);
        let config = |id: &str, script: &str| {
            let builder = bench.script(id, script).mount(Mount::volume(&name, "/data"));
            builder.options(&options).build().unwrap()
        };
        let writer = bench.run(&config("writer", "echo kept >/data/note; sleep 1000")).await;
        let claims = api::<PersistentVolumeClaim>(&bench);
        let spec = claims.get(&name).await.unwrap().spec.unwrap();
        assert_eq!(spec.access_modes.unwrap(), ["ReadWriteMany"]);
        assert_eq!(spec.storage_class_name.as_deref(), Some("folders"));
        assert_eq!(spec.resources.unwrap().requests.unwrap()["storage"].0, "2097152");
        bench.until(&writer, |status| status.phase == WorkerPhase::Running).await;
        let reader =
            bench.run(&config("reader", "until cat /data/note; do sleep 0.1; done; sleep 1000")).await;
        until(|| async {
            bench
                .provider
                .collect_logs(&reader, &LogOptions::all())
                .await
                .is_ok_and(|all| all.starts_with(b"kept"))
        })
        .await;
        bench.provider.delete_worker(&writer, &DeleteOptions::default()).await.unwrap();
        let still = claims.get(&name).await.unwrap();
        assert_eq!(still.metadata.deletion_timestamp, None, "the reader has it");
        bench.provider.delete_worker(&reader, &DeleteOptions::default()).await.unwrap();
        until_gone(&claims, &name).await;
    })
    .await;
}

#[tokio::test]
async fn k6_a_claim_of_somebody_else_is_used_and_left_and_a_class_that_is_not_there_is_told() {
    on_cluster("theirs", |bench| async move {
        let claims = api::<PersistentVolumeClaim>(&bench);
        let name = format!("theirs-{:08x}", std::process::id());
        let theirs = serde_json::json!({
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
        });
        claims.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
        let config =
            bench.script("a", "touch /data/made").mount(Mount::volume(&name, "/data")).build().unwrap();
        let worker = bench.run(&config).await;
        let status = bench.until(&worker, |status| status.phase == WorkerPhase::Exited).await;
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        let left = claims.get(&name).await;
        claims.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
        assert!(status.succeeded(), "{status:?}");
        assert_eq!(left.unwrap().metadata.deletion_timestamp, None);
        let options = KubernetesOptions::default().user(65_534);
        let options =
            options.claim(format!("{name}-2"), ClaimOptions::default().storage_class("no-such-class"));
        let config = bench.script("b", "true").mount(Mount::volume(format!("{name}-2"), "/data"));
        let worker = bench.run(&config.options(&options).build().unwrap()).await;
        let status = bench.until(&worker, |status| status.failure.is_some()).await;
        assert!(status.reason.as_ref().unwrap().contains("PersistentVolumeClaim"), "{status:?}");
    })
    .await;
}

#[tokio::test]
async fn k6_a_worker_that_cannot_be_made_leaves_no_claim() {
    on_cluster("taken", |bench| async move {
        let name = format!("taken-{:08x}", std::process::id());
        let long = "x".repeat(300_000);
        // The API server takes no annotations of that size.
        let mut options = KubernetesOptions::default().user(65_534);
        options.annotations.insert("long".to_owned(), long);
        let config = bench.script("a", "true").mount(Mount::volume(&name, "/data")).options(&options);
        let refused = bench
            .provider
            .create_worker(&config.build().unwrap(), &CreateOptions::default())
            .await
            .unwrap_err();
        assert!(!refused.is_retryable(), "{refused}");
        let claims = api::<PersistentVolumeClaim>(&bench);
        until_gone(&claims, &name).await;
    })
    .await;
}

#[tokio::test]
async fn k4_files_change_under_a_worker_that_runs_and_go_with_the_last() {
    on_cluster("files", |bench| async move {
        let name = format!("files-{:08x}", std::process::id());
        let with = |level: &str| {
            let files = ConfigMapOptions::new(&name, "/etc/app").file("level", level).file("old", "x");
            KubernetesOptions::default().user(65_534).config_map(files)
        };
        let script = "while true; do cat /etc/app/level; echo; ls /etc/app; sleep 0.3; done";
        let config = bench.script("a", script).options(&with("debug")).build().unwrap();
        let worker = bench.run(&config).await;
        let says = async |word: &str| {
            until(|| async {
                let all = bench.provider.collect_logs(&worker, &LogOptions::all().tail(8)).await;
                all.is_ok_and(|all| String::from_utf8_lossy(&all).lines().any(|line| line == word))
            })
            .await;
        };
        says("debug").await;
        // In place, without a restart: other content, a new file, and one less.
        let files =
            BTreeMap::from([("level".to_owned(), "info".to_owned()), ("new".to_owned(), String::new())]);
        assert!(bench.provider.apply_config_map(&name, &files).await.unwrap());
        assert!(!bench.provider.apply_config_map(&name, &files).await.unwrap(), "nothing has changed");
        says("info").await;
        says("new").await;
        let config_maps = api::<ConfigMap>(&bench);
        assert_eq!(config_maps.get(&name).await.unwrap().data.unwrap(), files);
        let status = bench.provider.get_worker_status(&worker).await.unwrap();
        assert_eq!(status.phase, WorkerPhase::Running);
        // By other content in its configuration: a worker of the next generation, which takes the place.
        let config = bench.script("a", script).options(&with("trace")).build().unwrap();
        let same = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(same.kind(), ErrorKind::Conflict, "{same}");
        let mut next = CreateOptions::default();
        next.generation = worker.generation.next();
        let second = bench.provider.create_worker(&config, &next).await.unwrap().worker;
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        assert_eq!(config_maps.get(&name).await.unwrap().data.unwrap()["level"], "trace");
        // A worker of the same configuration changes nothing that was changed since.
        assert!(bench.provider.apply_config_map(&name, &files).await.unwrap());
        let third = bench.create(&bench.script("c", script).options(&with("trace")).build().unwrap()).await;
        assert_eq!(config_maps.get(&name).await.unwrap().data.unwrap(), files);
        bench.provider.delete_worker(&third, &DeleteOptions::default()).await.unwrap();
        bench.provider.delete_worker(&second, &DeleteOptions::default()).await.unwrap();
        until_gone(&config_maps, &name).await;
        let gone = bench.provider.apply_config_map(&name, &files).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
        let bad = BTreeMap::from([("a/b".to_owned(), String::new())]);
        let refused = bench.provider.apply_config_map(&name, &bad).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains("files.a/b"), "{refused}");
    })
    .await;
}

/// What is enforced is the network plugin's matter, and that of the test clusters enforces nothing.
#[tokio::test]
async fn k7_a_worker_has_its_policy_before_it_starts_and_takes_it_along() {
    on_cluster("policy", |bench| async move {
        let traffic = TrafficOptions::none()
            .from(TrafficPeer::Group("web".to_owned()), [5432])
            .from(TrafficPeer::Namespaces(BTreeMap::from([("team".to_owned(), "red".to_owned())])), [])
            .to(TrafficPeer::Addresses("10.0.0.0/8".to_owned()), [443]);
        let options = KubernetesOptions::default().user(65_534).traffic(traffic);
        let worker = bench.create(&bench.script("a", "true").options(&options).build().unwrap()).await;
        let policies = api::<NetworkPolicy>(&bench);
        let name = format!("hodei.{}.a.1", bench.installation);
        let spec = serde_json::to_value(policies.get(&name).await.unwrap().spec).unwrap();
        let of_installation = serde_json::json!({"hodei-worker/installation": bench.installation});
        let mut of_group = of_installation.clone();
        of_group["hodei-worker/type"] = "web".into();
        let mut of_worker = of_installation;
        of_worker["hodei-worker/id"] = "a".into();
        of_worker["hodei-worker/generation"] = "1".into();
        let expected = serde_json::json!({
            "podSelector": {"matchLabels": of_worker},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [{"podSelector": {"matchLabels": of_group}}],
                    "ports": [{"port": 5432, "protocol": "TCP"}],
                },
                {"from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}]},
            ],
            "egress": [
                {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443, "protocol": "TCP"}]},
                {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
            ],
        });
        assert_eq!(spec, expected);
        let own = bench.create(&bench.script("b", "true").build().unwrap()).await;
        assert!(policies.get_opt(&format!("hodei.{}.b.1", bench.installation)).await.unwrap().is_none());
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        until_gone(&policies, &name).await;
        bench.provider.delete_worker(&own, &DeleteOptions::default()).await.unwrap();
        let wrong = TrafficOptions::none().to(TrafficPeer::Addresses("10.0.0.0/33".to_owned()), [443]);
        let wrong =
            bench.script("c", "true").options(&KubernetesOptions::default().user(65_534).traffic(wrong));
        let refused = match wrong.build() {
            Err(refused) => refused,
            Ok(config) => bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err(),
        };
        assert!(refused.to_string().contains("traffic.egress[0].peer"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn k6_a_generation_that_cannot_be_made_leaves_the_volume_of_those_before_it() {
    on_cluster("lost", |bench| async move {
        let name = format!("lost-{:08x}", std::process::id());
        let services = api::<Service>(&bench);
        let theirs = serde_json::json!({"metadata": {"name": name}, "spec": {"clusterIP": "None"}});
        services.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
        let config = |options: KubernetesOptions| {
            bench.script("db", "true").mount(Mount::volume(&name, "/data")).options(&options).build().unwrap()
        };
        let plain = KubernetesOptions::default().user(65_534);
        let first = bench.create(&config(plain.clone())).await;
        bench.provider.delete_worker(&first, &DeleteOptions::keeping_volumes()).await.unwrap();
        let claims = api::<PersistentVolumeClaim>(&bench);
        let before = claims.get(&name).await.unwrap().metadata;
        let mut next = CreateOptions::default();
        next.generation = first.generation.next();
        let wrong = config(plain.service(ServiceOptions::of_worker(&name).headless()));
        let refused = bench.provider.create_worker(&wrong, &next).await;
        services.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
        let after = claims.get(&name).await.unwrap().metadata;
        assert_eq!((after.uid, after.deletion_timestamp), (before.uid, None));
        // It goes with a deletion that says so, although nothing but the claim is left of the worker.
        bench.provider.delete_worker(&first, &DeleteOptions::default()).await.unwrap();
        assert!(claims.get_opt(&name).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn k6_a_worker_that_was_stopped_first_takes_its_volume_along_in_any_generation() {
    on_cluster("stopped", |bench| async move {
        let name = format!("stopped-{:08x}", std::process::id());
        let config = bench.script("a", "sleep 1000").stop_grace("1s").mount(Mount::volume(&name, "/data"));
        let config = config.build().unwrap();
        let claims = api::<PersistentVolumeClaim>(&bench);
        let mut worker = bench.run(&config).await;
        for _ in 0..2 {
            bench.until(&worker, |status| status.phase == WorkerPhase::Running).await;
            bench.provider.stop_worker(&worker, &StopOptions::default()).await.unwrap();
            bench.provider.delete_worker(&worker, &DeleteOptions::keeping_volumes()).await.unwrap();
            assert!(claims.get_opt(&name).await.unwrap().is_some());
            let mut next = CreateOptions::default();
            next.generation = worker.generation.next();
            worker = bench.provider.create_worker(&config, &next).await.unwrap().worker;
            bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        }
        bench.until(&worker, |status| status.phase == WorkerPhase::Running).await;
        bench.provider.stop_worker(&worker, &StopOptions::default()).await.unwrap();
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        assert!(claims.get_opt(&name).await.unwrap().is_none());
    })
    .await;
}
