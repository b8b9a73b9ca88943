//! D10: compose files on a real engine: what is done again, in parts, elsewhere, by a manager; ports of a range.
#![cfg(all(feature = "docker", feature = "compose"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

#[path = "compose/bed.rs"]
mod bed;

use std::{collections::BTreeMap, net::TcpListener, path::Path, sync::Arc};

use bed::{Bed, limit, on_engine, wholly};
use bollard::query_parameters as q;
use hodei_worker::{
    ErrorKind, WorkerManager, WorkerPhase, WorkerProvider, WorkerState, WorkerStatus,
    compose::{Composition, DownOptions, Instance, UpOptions},
    manager::{ManagerSettings, RemoveWorker, Shutdown},
    model::RestartPolicy,
    provider::StopOptions,
    quantity::HumanDuration,
    status::Health,
    store::MemoryStore,
};

/// Which container it is, and which of its runs.
type Life = (String, String);

fn lives(all: &[Instance]) -> BTreeMap<String, Life> {
    let life = |status: &WorkerStatus| {
        (status.native_id.clone(), status.run.as_ref().map(ToString::to_string).unwrap_or_default())
    };
    all.iter().map(|one| (one.name(), life(&one.status))).collect()
}

fn find<'a>(all: &'a [Instance], name: &str) -> &'a WorkerStatus {
    &all.iter().find(|one| one.name() == name).unwrap().status
}

fn run(all: &[Instance]) -> bool {
    all.iter().all(|one| one.status.phase == WorkerPhase::Running)
}

async fn inspect(bed: &Bed, status: &WorkerStatus) -> bollard::models::HostConfig {
    let found =
        bed.client().await.inspect_container(&status.native_id, None::<q::InspectContainerOptions>).await;
    found.unwrap().host_config.unwrap()
}

#[tokio::test]
async fn d10_a_second_up_starts_what_stopped_and_waits_for_its_health_anew() {
    on_engine("stopped", |bed: Arc<Bed>| async move {
        let text = "
services:
  db:
    image: ${IMAGE}
    command: sh -c 'rm -f /tmp/ready; sleep 1; touch /tmp/ready; exec sleep 1000'
    stop_grace_period: 0s
    healthcheck: {test: ['CMD', 'test', '-e', '/tmp/ready'], interval: 200ms, retries: 100}
  web:
    image: ${IMAGE}
    command: sleep 1000
    stop_grace_period: 0s
    healthcheck: {test: ['CMD', 'true'], interval: 200ms}
    depends_on: {db: {condition: service_healthy}}
";
        let (composition, first) = bed.up(text).await;
        let provider = bed.provider(composition.project()).await;
        for one in &first {
            provider.stop_worker(one.worker(), &StopOptions::kill()).await.unwrap();
        }
        let (composition, second) = bed.up(text).await;
        assert!(run(&second));
        let (before, after) = (lives(&first), lives(&second));
        for name in ["db-1", "web-1"] {
            assert_eq!(before[name].0, after[name].0, "{name} was made anew");
            assert_ne!(before[name].1, after[name].1, "{name}");
            assert_eq!(find(&second, name).health, Some(Health::Healthy), "{name}");
        }
        let (db, web) = (find(&second, "db-1"), find(&second, "web-1"));
        let apart = web.times.started.unwrap().duration_since(db.times.started.unwrap());
        assert!(apart.as_millis() >= 1000, "it did not wait: {apart:?}");
        limit(composition.down(&wholly())).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d10_a_job_with_a_check_that_has_done_its_work_is_ready() {
    on_engine("job", |bed: Arc<Bed>| async move {
        let text = "
services:
  job:
    image: ${IMAGE}
    command: sleep 1
    healthcheck: {test: ['CMD', 'true'], interval: 10m}
  after:
    image: ${IMAGE}
    command: sleep 1000
    stop_grace_period: 0s
    depends_on: {job: {condition: service_completed_successfully}}
";
        let (_, first) = bed.up(text).await;
        let (composition, second) = bed.up(text).await;
        for all in [&first, &second] {
            assert!(find(all, "job-1").succeeded());
            assert_eq!(find(all, "after-1").phase, WorkerPhase::Running);
        }
        let (before, after) = (lives(&first), lives(&second));
        assert_eq!(before["after-1"], after["after-1"]);
        assert_eq!(before["job-1"].0, after["job-1"].0, "it was made anew");
        assert_ne!(before["job-1"].1, after["job-1"].1, "it was not started again");

        // Alone it is waited for too.
        let alone = limit(composition.up(&UpOptions::default().service("job"))).await.unwrap();
        assert!(find(&alone, "job-1").succeeded());
        limit(composition.down(&wholly())).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d10_what_only_the_engines_rules_refuse_is_refused_by_line() {
    on_engine("rules", |bed: Arc<Bed>| async move {
        for (service, field) in [
            ("stop_signal: SIGNOTHING", "services.a.stop_signal"),
            ("extra_hosts: ['a:nowhere']", "services.a.extra_hosts"),
            ("dns: ['nowhere']", "services.a.dns"),
            ("mem_swappiness: 101", "services.a.mem_swappiness"),
            ("ulimits: {nothing: 1}", "services.a.ulimits"),
            ("blkio_config: {weight: 5}", "services.a.blkio_config.weight"),
        ] {
            let text = format!("services:\n  a:\n    image: '${{IMAGE}}'\n    {service}\n");
            let project = bed.read(&text).unwrap();
            let provider: Arc<dyn WorkerProvider> = Arc::new(bed.provider(&project).await);
            let fitted = Composition::with_rules(project, provider, &hodei_worker::rules()).await;
            let error = fitted.expect_err(service);
            assert_eq!(
                (error.kind(), error.context_value("field"), error.context_value("line")),
                (ErrorKind::Config, Some(field), Some("4")),
                "{error}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn d10_the_owner_of_a_shared_network_comes_up_alone_first() {
    on_engine("owner", |bed: Arc<Bed>| async move {
        let text = "
services:
  base: {image: '${IMAGE}', command: sleep 1000, environment: {A: '1'}, stop_grace_period: 0s}
  beside: {image: '${IMAGE}', command: sleep 1000, network_mode: 'service:base', stop_grace_period: 0s}
";
        let base = UpOptions::default().service("base");
        let alone = limit(bed.fit(text).await.up(&base)).await.unwrap();
        assert_eq!(lives(&alone).into_keys().collect::<Vec<_>>(), ["base-1"]);
        let (_, both) = bed.up(text).await;
        assert!(run(&both) && both.len() == 2);
        assert_eq!(lives(&both)["base-1"], lives(&alone)["base-1"]);
        let shares = |id: &str| Some(format!("container:{id}"));
        let mode = inspect(&bed, find(&both, "beside-1")).await.network_mode;
        assert_eq!(mode, shares(&find(&both, "base-1").native_id));

        // It changes alone, and the other one follows with the next full one.
        let text = text.replace("'1'", "'2'");
        let changed = limit(bed.fit(&text).await.up(&base)).await.unwrap();
        assert_ne!(lives(&changed)["base-1"].0, lives(&both)["base-1"].0);
        let (_, last) = bed.up(&text).await;
        assert!(run(&last));
        assert_eq!(lives(&last)["base-1"], lives(&changed)["base-1"]);
        let mode = inspect(&bed, find(&last, "beside-1")).await.network_mode;
        assert_eq!(mode, shares(&find(&last, "base-1").native_id));

        // The file has the other one no more, and nothing else has changed.
        let without: Vec<&str> = text.lines().filter(|line| !line.contains("beside")).collect();
        let mut orphans = UpOptions::default();
        let composition = bed.fit(&without.join("\n")).await;
        assert_eq!(lives(&limit(composition.up(&orphans)).await.unwrap()), lives(&last));
        orphans.remove_orphans = true;
        let rest = lives(&limit(composition.up(&orphans)).await.unwrap());
        assert_eq!(rest, BTreeMap::from([("base-1".to_owned(), lives(&last)["base-1"].clone())]));
        limit(composition.down(&wholly())).await.unwrap();
    })
    .await;
}

async fn up_in(bed: &Bed, folder: &Path, text: &str) -> (Composition, Vec<Instance>) {
    let project = bed.read_in(folder, text).unwrap();
    let provider: Arc<dyn WorkerProvider> = Arc::new(bed.provider(&project).await);
    let composition = Composition::new(project, provider).await.unwrap();
    let all = limit(composition.up(&UpOptions::default())).await.unwrap();
    (composition, all)
}

#[tokio::test]
async fn d10_the_same_project_in_another_folder_is_the_same_but_for_what_it_mounts_of_it() {
    on_engine("moved", |bed: Arc<Bed>| async move {
        let text = "
services:
  plain:
    image: ${IMAGE}
    command: sleep 1000
    env_file: [settings.env]
    volumes: ['data:/data']
    secrets: [key]
    stop_grace_period: 0s
  bound: {image: '${IMAGE}', command: sleep 1000, volumes: ['./here:/here'], stop_grace_period: 0s}
volumes: {data: {}}
secrets: {key: {file: ./key}}
";
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&one, &other] {
            std::fs::create_dir(folder.path().join("here")).unwrap();
            std::fs::write(folder.path().join("settings.env"), "A=1\n").unwrap();
            std::fs::write(folder.path().join("key"), "planted-key").unwrap();
        }
        let (_, first) = up_in(&bed, one.path(), text).await;
        let (_, same) = up_in(&bed, one.path(), text).await;
        assert_eq!(lives(&same), lives(&first));
        let (composition, moved) = up_in(&bed, other.path(), text).await;
        assert_eq!(lives(&moved)["plain-1"], lives(&first)["plain-1"]);
        assert_ne!(lives(&moved)["bound-1"].0, lives(&first)["bound-1"].0);
        limit(composition.down(&wholly())).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d10_volumes_that_one_down_has_left_go_with_the_next() {
    on_engine("twice", |bed: Arc<Bed>| async move {
        let text = "
services:
  a: {image: '${IMAGE}', command: sleep 1000, volumes: ['data:/data', '/own'], scale: 2, stop_grace_period: 0s}
volumes: {data: {}, never: {}}
";
        let (composition, _) = bed.up(text).await;
        limit(composition.down(&DownOptions::default())).await.unwrap();
        assert!(composition.instances().await.unwrap().is_empty());
        let left = bed.left(&composition).await;
        assert!(left.contains(&format!("{}_data", bed.name)), "{left:?}");
        for _ in 0..2 {
            limit(composition.down(&wholly())).await.unwrap();
            assert_eq!(bed.left(&composition).await, Vec::<String>::new());
        }
    })
    .await;
}

#[tokio::test]
async fn d10_memory_is_mounted_in_its_size() {
    on_engine("memory", |bed: Arc<Bed>| async move {
        let text = "
services:
  a:
    image: ${IMAGE}
    command: sleep 1000
    stop_grace_period: 0s
    tmpfs: ['/short:size=16m,mode=1770']
    volumes: [{type: tmpfs, target: /long, tmpfs: {size: 8m, mode: 0750}}]
";
        let (composition, all) = bed.up(text).await;
        let mounts = inspect(&bed, find(&all, "a-1")).await.mounts.unwrap();
        let each = mounts.into_iter().map(|mount| {
            let options = mount.tmpfs_options.unwrap_or_default();
            (mount.target.unwrap(), (options.size_bytes, options.mode))
        });
        let expected = [("/long", (8 << 20, 0o750)), ("/short", (16 << 20, 0o1770))];
        let expected = expected.map(|(target, (size, mode))| (target.to_owned(), (Some(size), Some(mode))));
        assert_eq!(each.collect::<BTreeMap<_, _>>(), BTreeMap::from(expected));
        limit(composition.down(&wholly())).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d10_a_manager_cares_for_the_workers_of_a_project() {
    on_engine("managed", |bed: Arc<Bed>| async move {
        let text = "
services:
  web:
    image: ${IMAGE}
    command: sh -c 'cat /run/secrets/token; exec sleep 1000'
    restart: always
    scale: 2
    depends_on: [db]
    networks: [back]
    secrets: [token]
    stop_grace_period: 0s
  db: {image: '${IMAGE}', command: sleep 1000, networks: [back], volumes: ['data:/data'], stop_grace_period: 0s}
volumes: {data: {}}
networks: {back: {}}
secrets: {token: {environment: TOKEN}}
";
        let project = bed.read(text).unwrap();
        let provider: Arc<dyn WorkerProvider> = Arc::new(bed.provider(&project).await);
        let rules = hodei_worker::rules();
        let composition = Composition::with_rules(project, Arc::clone(&provider), &rules).await.unwrap();
        let configs = composition.worker_configs().await.unwrap();
        let service = |label: &str| label.split('-').nth(2).unwrap().to_owned();
        let order: Vec<_> = configs.iter().map(|config| service(config.worker_id.as_str())).collect();
        assert_eq!(order, ["db", "web", "web"]);
        let policies: Vec<_> = configs.iter().map(|config| config.restart_policy()).collect();
        assert_eq!(policies, [RestartPolicy::Never, RestartPolicy::Always, RestartPolicy::Always]);

        let mut settings = ManagerSettings::default();
        settings.sweep_after = HumanDuration::millis(100);
        let builder = WorkerManager::builder(Arc::new(MemoryStore::new())).provider(Arc::clone(&provider));
        let manager = builder.settings(settings).open().await.unwrap();
        for config in &configs {
            manager.create_worker(config).await.unwrap();
        }
        for config in &configs {
            let runs = manager.wait_for(&config.worker_id, |one| one.state == Some(WorkerState::Running));
            limit(runs).await.unwrap();
        }
        let all = composition.instances().await.unwrap();
        assert_eq!(all.iter().map(Instance::name).collect::<Vec<_>>(), ["db-1", "web-1", "web-2"]);
        let web = find(&all, "web-1");
        let restarts = inspect(&bed, web).await.restart_policy.and_then(|policy| policy.name);
        let none = restarts.map(|name| name.to_string()).unwrap_or_default();
        assert!(matches!(none.as_str(), "" | "no"), "two would restart it: {none}");

        let first = manager.worker(&web.worker.id).await.unwrap().unwrap();
        let kill = bed.client().await.kill_container(&web.native_id, None::<q::KillContainerOptions>).await;
        kill.unwrap();
        let run = first.run.clone();
        let back = manager.wait_for(&web.worker.id, move |one| {
            one.state == Some(WorkerState::Running) && one.run != run
        });
        let back = limit(back).await.unwrap();
        assert_eq!(back.recovery.unwrap().attempts, 1);
        let now = composition.instances().await.unwrap();
        assert!(self::run(&now));
        assert_eq!(find(&now, "db-1").run, find(&all, "db-1").run);

        for config in configs.iter().rev() {
            manager.remove_worker(&config.worker_id, &RemoveWorker::default()).await.unwrap();
            limit(manager.wait_until_gone(&config.worker_id)).await.unwrap();
        }
        limit(manager.shutdown(Shutdown::default())).await.unwrap();
        // What a worker had goes before it is said to be gone.
        assert_eq!(bed.left(&composition).await, Vec::<String>::new());

        let text = "services: {a: {image: i}, b: {image: i, network_mode: 'service:a'}}";
        let error = bed.read(text).unwrap().worker_configs(&*provider, &rules).await.unwrap_err();
        assert_eq!(error.context_value("field"), Some("services.b.network_mode"), "{error}");
    })
    .await;
}

/// The first of three ports that nobody has.
fn three_free_ports() -> u16 {
    let free = |first: &u16| {
        let bound: Vec<_> = (*first..first + 3).map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        bound.iter().all(Result::is_ok)
    };
    std::iter::repeat_with(|| fastrand::u16(15_000..30_000)).find(free).unwrap()
}

#[tokio::test]
async fn d10_replicas_take_free_ports_of_a_range() {
    on_engine("range", |bed: Arc<Bed>| async move {
        let first = three_free_ports();
        let range = format!("{first}-{}", first + 2);
        let text = |replicas: usize| {
            format!(
                "
services:
  a:
    image: ${{IMAGE}}
    command: sleep 1000
    stop_grace_period: 0s
    scale: {replicas}
    ports: ['127.0.0.1:{range}:80']
"
            )
        };
        let ports = |all: &[Instance]| -> BTreeMap<String, u16> {
            all.iter().map(|one| (one.name(), one.status.address(80).unwrap().host_port)).collect()
        };
        let (_, two) = bed.up(&text(2)).await;
        let (composition, three) = bed.up(&text(3)).await;
        let (before, after) = (ports(&two), ports(&three));
        assert!(before.iter().all(|(name, port)| after[name] == *port), "{before:?}, {after:?}");
        let mut taken: Vec<u16> = after.into_values().collect();
        taken.sort_unstable();
        assert_eq!(taken, [first, first + 1, first + 2]);
        // Who ends makes room for another.
        let (_, one) = bed.up(&text(1)).await;
        assert_eq!(ports(&one)["a-1"], before["a-1"]);
        let three = limit(composition.scale("a", 3)).await.unwrap();
        let error = limit(composition.scale("a", 4)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.context_value("field"), error.context_value("line")),
            (ErrorKind::Config, Some("services.a.ports[0]"), Some("8")),
            "{error}"
        );
        for part in ["the 4 workers of `a`", &range, "has 3"] {
            assert!(error.to_string().contains(part), "`{part}` is missing in {error}");
        }
        assert_eq!(lives(&composition.instances().await.unwrap()), lives(&three));
        limit(composition.down(&wholly())).await.unwrap();

        for (service, line) in [
            (text(4), "8"),
            (text(1).replace(&range, &format!("{}-{first}", first + 2)), "8"),
            (text(1).replace("80']", "80', '127.0.0.2:9000-9001:80']"), "8"),
        ] {
            let error = bed.try_fit(&service).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.context_value("line")),
                (ErrorKind::Config, Some(line)),
                "{error}"
            );
        }
    })
    .await;
}
