//! D10: compose files on a real engine.
#![cfg(all(feature = "docker", feature = "compose", feature = "process"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

#[path = "compose/bed.rs"]
mod bed;

use std::{collections::BTreeMap, process::Command, sync::Arc};

use bed::{Bed, limit, on_engine, said, var, wholly};
use hodei_worker::{
    ConnectContext, ErrorKind, WorkerPhase, WorkerProvider,
    compose::{Composition, DownOptions, Instance, Project, ProjectOptions, UpOptions},
    model::Generation,
    process::ProcessSettings,
};

const SHOP: &str = "
services:
  db:
    image: ${IMAGE}
    command: sh -c 'sleep 1; touch /data/ready; exec sleep 1000'
    volumes: ['data:/data']
    networks: [back]
    healthcheck: {test: ['CMD', 'test', '-e', '/data/ready'], interval: 200ms, retries: 100}
  migrate:
    image: ${IMAGE}
    command: ['cat', '/run/secrets/token', '/run/secrets/key', '/run/secrets/far', '/settings']
    depends_on: {db: {condition: service_healthy}}
    secrets: [token, {source: file, target: key}, {source: outside, target: far}]
    configs: [settings]
  web:
    image: ${IMAGE}
    command: sh -c 'echo $$COLOUR > /tmp/index.html; exec httpd -f -p 80 -h /tmp'
    environment: {COLOUR: red}
    depends_on:
      migrate: {condition: service_completed_successfully}
    networks: {back: {}, front: {aliases: [shop]}}
    ports: ['127.0.0.1::80']
    stop_grace_period: 0s
    deploy: {replicas: 2}
volumes: {data: {}}
networks: {front: {}, back: {internal: true}}
secrets:
  token: {environment: TOKEN}
  file: {file: ./key}
  outside: {external: true}
configs:
  settings: {content: 'colour=${COLOUR:-none}'}
";

fn by_name(all: &[Instance]) -> BTreeMap<String, (WorkerPhase, Generation)> {
    all.iter().map(|one| (one.name(), (one.status.phase, one.worker().generation))).collect()
}

#[tokio::test]
async fn d10_a_project_comes_up_in_order_changes_what_changed_and_goes_down() {
    on_engine("shop", |bed| async move {
        bed.write("key", "planted-key");
        let (composition, all) = bed.up(SHOP).await;
        let first = Generation::FIRST;
        let phases: Vec<_> = by_name(&all).into_values().collect();
        let (runs, ended) = ((WorkerPhase::Running, first), (WorkerPhase::Exited, first));
        assert_eq!(phases, [runs, ended, runs, runs], "{:?}", by_name(&all));
        let find = |name: &str| Arc::clone(&all.iter().find(|one| one.name() == name).unwrap().status);
        assert!(find("db-1").times.started < find("migrate-1").times.started);
        assert!(find("migrate-1").times.finished <= find("web-1").times.started);
        assert_eq!(
            said(&composition, "migrate").await,
            "planted-tokenplanted-keyplanted-outsidecolour=none\n"
        );

        // What has not changed is left alone, but for what is done with its work.
        let (_, again) = bed.up(SHOP).await;
        for name in ["db-1", "web-1", "web-2"] {
            let found = again.iter().find(|one| one.name() == name).unwrap();
            assert_eq!(found.status.run, find(name).run, "{name}");
        }
        let (composition, changed) = bed.up(&SHOP.replace("COLOUR: red", "COLOUR: blue")).await;
        let generations = by_name(&changed);
        assert_eq!(generations["db-1"].1, first);
        assert_eq!((generations["web-1"].1, generations["web-2"].1), (first.next(), first.next()));

        let more = limit(composition.scale("web", 3)).await.unwrap();
        assert_eq!(more.iter().filter(|one| one.service == "web").count(), 3);
        let fewer = limit(composition.scale("web", 1)).await.unwrap();
        assert_eq!(fewer.iter().filter(|one| one.service == "web").count(), 1);

        limit(composition.down(&DownOptions::default())).await.unwrap();
        assert_eq!(bed.left(&composition).await, [format!("{}_data", bed.name)]);
        // The volume has kept what was in it.
        let (composition, _) = bed.up(&SHOP.replace("touch /data/ready", "true")).await;
        limit(composition.down(&wholly())).await.unwrap();
        assert_eq!(bed.left(&composition).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn d10_docker_compose_sees_the_project() {
    on_engine("seen", |bed| async move {
        let (composition, _) =
            bed.up("services: {web: {image: '${IMAGE}', command: sleep 1000, scale: 2}}").await;
        let theirs = |words: &[&str]| {
            let output = Command::new(var("HODEI_TEST_COMPOSE"))
                .args(words)
                .env_clear()
                .env("DOCKER_HOST", var("HODEI_TEST_DOCKER_HOST"))
                .env("HOME", bed.folder.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(theirs(&["ls", "--format", "json"]).contains(&format!("\"Name\":\"{}\"", bed.name)));
        let listed = theirs(&["-p", &bed.name, "ps", "--format", "json"]);
        assert_eq!(listed.matches("\"Service\":\"web\"").count(), 2, "{listed}");
        limit(composition.down(&wholly())).await.unwrap();
        assert!(!theirs(&["ls", "--all", "--format", "json"]).contains(&bed.name));
    })
    .await;
}

#[tokio::test]
async fn d10_what_waits_for_the_unhealthy_does_not_start() {
    on_engine("ill", |bed| async move {
        let text = "
services:
  ill:
    image: ${IMAGE}
    command: sleep 1000
    healthcheck: {test: ['CMD', 'false'], interval: 100ms, retries: 1}
  late:
    image: ${IMAGE}
    command: sleep 1000
    depends_on: {ill: {condition: service_healthy}}
";
        let composition = bed.fit(text).await;
        let error = limit(composition.up(&UpOptions::default())).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.context_value("service")),
            (ErrorKind::Dependency, Some("ill")),
            "{error}"
        );
        let names: Vec<_> = composition.instances().await.unwrap().iter().map(Instance::name).collect();
        assert_eq!(names, ["ill-1"]);
        let text = text.replace("'false'", "'true'");
        let (composition, all) = bed.up(&text).await;
        assert_eq!(all.len(), 2);
        limit(composition.down(&wholly())).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d10_a_service_shares_the_network_of_another_and_goes_with_it() {
    on_engine("share", |bed| async move {
        let text = "
services:
  base: {image: '${IMAGE}', command: sleep 1000, environment: {A: '1'}, stop_grace_period: 0s}
  beside: {image: '${IMAGE}', command: sleep 1000, network_mode: 'service:base', stop_grace_period: 0s}
";
        let (_, first) = bed.up(text).await;
        let (composition, second) = bed.up(&text.replace("'1'", "'2'")).await;
        let (first, second) = (by_name(&first), by_name(&second));
        assert_eq!(second["beside-1"].1, first["beside-1"].1.next(), "it stayed in a network that is gone");
        limit(composition.down(&wholly())).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d10_what_is_not_supported_is_refused_by_name_and_line() {
    on_engine("refuse", |bed| async move {
        for (service, field, line) in [
            ("build: .", "services.a.build", "4"),
            ("volumes_from: [b]", "services.a.volumes_from", "4"),
            ("deploy: {endpoint_mode: dnsrr}", "services.a.deploy.endpoint_mode", "4"),
            ("pull_policy: daily", "services.a.pull_policy", "4"),
            ("gpus: all", "services.a.gpus", "4"),
        ] {
            let text = format!(
                "services:\n  a:\n    image: '${{IMAGE}}'\n    {service}\n  b: {{image: '${{IMAGE}}'}}\n"
            );
            let error = bed.try_fit(&text).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert_eq!(
                (error.context_value("field"), error.context_value("line")),
                (Some(field), Some(line)),
                "{error}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn d10_services_of_commands_run_as_local_processes_and_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("local-{:08x}", fastrand::u32(..));
    let context = ConnectContext::new("process".parse().unwrap(), format!("t-{name}").parse().unwrap());
    let mut settings = ProcessSettings::default();
    settings.state_dir = Some(folder.path().to_owned());
    let provider: Arc<dyn WorkerProvider> = hodei_worker::connect(settings, context).await.unwrap();
    let read = |text: &str| Project::parse(text, &ProjectOptions::new().project_name(&name)).unwrap();
    let text = "
services:
  first: {image: scratch, command: echo one}
  second:
    image: scratch
    command: ['sh', '-c', 'echo $$WHO']
    environment: {WHO: two}
    depends_on: {first: {condition: service_completed_successfully}}
";
    let composition = Composition::new(read(text), Arc::clone(&provider)).await.unwrap();
    limit(composition.up(&UpOptions::default())).await.unwrap();
    limit(composition.wait()).await.unwrap();
    assert_eq!(
        (said(&composition, "first").await, said(&composition, "second").await),
        ("one\n".into(), "two\n".into())
    );
    limit(composition.down(&wholly())).await.unwrap();
    assert!(composition.instances().await.unwrap().is_empty());
    for (service, field) in [
        ("{image: busybox}", "services.a.image"),
        ("{image: scratch, command: x, privileged: true}", "services.a.privileged"),
        ("{image: scratch, command: x, networks: [n]}", "services.a.networks"),
        ("{image: scratch, command: x, tty: true}", "services.a.tty"),
    ] {
        let text = format!("services:\n  a: {service}\nnetworks: {{n: {{}}}}\n");
        let error = Composition::new(read(&text), Arc::clone(&provider)).await.unwrap_err();
        assert_eq!((error.kind(), error.context_value("field")), (ErrorKind::Config, Some(field)), "{error}");
    }
}

#[tokio::test]
async fn d10_a_cut_off_up_is_finished_by_the_next_one() {
    on_engine("cut", |bed: Arc<Bed>| async move {
        let text =
            "services:\n  a: {image: '${IMAGE}', command: sleep 1000, scale: 4, stop_grace_period: 0s}\n";
        let composition = bed.fit(text).await;
        let mut options = UpOptions::default();
        options.parallelism = 1;
        for millis in [50, 150, 300] {
            options.timeout = Some(std::time::Duration::from_millis(millis));
            if let Err(error) = composition.up(&options).await {
                assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            }
        }
        let (composition, all) = bed.up(text).await;
        assert_eq!(all.iter().filter(|one| one.status.phase == WorkerPhase::Running).count(), 4);
        limit(composition.down(&wholly())).await.unwrap();
        assert_eq!(bed.left(&composition).await, Vec::<String>::new());
    })
    .await;
}
