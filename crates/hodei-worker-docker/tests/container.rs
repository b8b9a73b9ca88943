//! D2: containers, by a real engine: what the common behaviour suite does not cover.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use common::{limit, on_engine};
use hodei_worker_core::{
    ErrorKind, WorkerPhase, WorkerProvider as _, WorkerRef,
    model::{Mount, Port, SecretReference},
    provider::{
        CreateOptions, DeleteOptions, ExecOptions, LogOptions, StartOptions, StatsOptions, StopOptions,
        WorkerFilter,
    },
    status::{ExitStatus, FailureClass},
};
use hodei_worker_docker::{DockerOptions, NativeRestart, PullPolicy};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn d2_a_foreign_container_of_our_name_is_never_touched() {
    on_engine("foreign", |bench| async move {
        let name = format!("hodei.{}.a.1", bench.installation);
        let theirs = bench.raw().sleeper(&name).await;
        let worker = WorkerRef::first("a".parse().unwrap());
        let checked = tokio::spawn({
            let (bench, worker, theirs) = (bench.clone(), worker.clone(), theirs.clone());
            async move {
                let config = bench.script("a", "true").build().unwrap();
                let error =
                    bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                assert_eq!(error.context_value("container"), Some(theirs.as_str()));
                assert_eq!(bench.status(&worker).await.phase, WorkerPhase::Absent);
                bench.provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
                bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
                let error = bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                assert!(bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.is_empty());
                assert!(bench.raw().is_running(&theirs).await);
            }
        })
        .await;
        bench.raw().remove(&theirs).await;
        checked.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d2_a_renamed_container_is_still_the_worker() {
    on_engine("renamed", |bench| async move {
        let worker = bench.run("a", "sleep 1000").await;
        let id = bench.status(&worker).await.native_id.clone();
        bench.raw().rename(&id, &format!("renamed-{}", bench.installation)).await;
        let stranger = bench.stranger().await;
        assert_eq!(stranger.status(&worker).await.native_id, id);
        stranger.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        assert_eq!(bench.status(&worker).await.phase, WorkerPhase::Absent);
    })
    .await;
}

#[tokio::test]
async fn d2_what_runs_from_a_copy_of_a_worker_is_not_the_worker() {
    on_engine("copied", |bench| async move {
        let worker = bench.run("a", "sleep 1000").await;
        let id = bench.status(&worker).await.native_id.clone();
        let raw = bench.raw();
        let image = raw.commit(&id, &format!("hodei-test/copy-{}", bench.installation), &[]).await;
        let theirs = raw.sleeper_of(&image, &format!("debug-{}", bench.installation)).await;
        let checked = tokio::spawn({
            let (bench, worker, theirs) = (bench.clone(), worker.clone(), theirs.clone());
            async move {
                let other = bench.stranger().await;
                let listed = other.provider.list_workers(&WorkerFilter::all()).await.unwrap();
                assert_eq!(listed.workers.len(), 1);
                assert_eq!(listed.workers[0].native_id, id);
                for host in [&bench, &other, &bench] {
                    host.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
                }
                assert_eq!(other.status(&worker).await.phase, WorkerPhase::Absent);
                assert!(bench.raw().is_running(&theirs).await);
            }
        })
        .await;
        raw.remove(&theirs).await;
        raw.remove_image(&image).await;
        checked.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d2_the_labels_of_an_image_are_not_taken_for_ours_or_the_users() {
    on_engine("labelled", |bench| async move {
        let raw = bench.raw();
        let base = raw.sleeper(&format!("base-{}", bench.installation)).await;
        let labels = [
            ("maintainer", "somebody"),
            ("team", "the image's"),
            ("hodei-worker/type", "web"),
            ("hodei-worker/secrets", r#"[{"key":"no/such","target":{"file":{"path":"/run/x"}}}]"#),
            ("hodei-worker/stop-grace", "30d"),
            ("hodei-worker/log", "theirs"),
            ("hodei-worker/position", "7"),
            ("hodei-worker/labels", r#"["maintainer"]"#),
        ];
        let image = raw.commit(&base, &format!("hodei-test/label-{}", bench.installation), &labels).await;
        raw.remove(&base).await;
        let checked = tokio::spawn({
            let (bench, image) = (bench.clone(), image.clone());
            async move {
                let config = bench.script("a", "trap '' TERM; sleep 1000").image(image.as_str());
                let worker = bench.create(&config.label("team", "ours").build().unwrap()).await;
                let other = bench.stranger().await;
                let status = other.status(&worker).await;
                assert_eq!(status.labels, [("team".to_owned(), "ours".to_owned())].into());
                assert_eq!(status.worker_type, None);
                assert_eq!(status.ownership.as_ref().unwrap().intent, None);
                other.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
                limit(other.provider.stop_worker(&worker, &StopOptions::default())).await.unwrap();
                bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
            }
        })
        .await;
        raw.remove_image(&image).await;
        checked.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d2_a_command_that_cannot_be_run_is_an_error_of_its_configuration() {
    on_engine("command", |bench| async move {
        for (id, command) in
            [("none", "/no/such/program"), ("path", "no-such-program"), ("not", "/etc/passwd")]
        {
            let config = bench.script(id, "").command([command]).args::<String>([]).build().unwrap();
            let worker = bench.create(&config).await;
            let error = bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains(&format!("`{command}`")), "{error}");
            let status = bench.status(&worker).await;
            assert_eq!((status.phase, status.exit), (WorkerPhase::Exited, None));
            assert_eq!(status.failure, Some(FailureClass::CommandNotFound));
        }
    })
    .await;
}

#[tokio::test]
async fn d2_a_stop_is_asked_for_once_and_keeps_the_exit_code() {
    on_engine("stop", |bench| async move {
        let script = "trap 'echo asked; n=0; while [ $n -lt 20 ]; do sleep 0.1; n=$((n+1)); done; exit 7' TERM; \
                      echo ready; while true; do sleep 0.05; done";
        let worker = bench.run("a", script).await;
        bench.says(&worker, "ready").await;
        let stranger = bench.stranger().await;
        let grace = StopOptions::within(Duration::from_secs(30));
        // The first is dropped when it has been sent, as its own event shows.
        {
            let first = bench.provider.stop_worker(&worker, &grace);
            tokio::select! {
                stopped = first => panic!("it stopped at once: {stopped:?}"),
                () = stranger.says(&worker, "asked") => {}
            }
        }
        let (one, two) = tokio::join!(
            bench.provider.stop_worker(&worker, &grace),
            stranger.provider.stop_worker(&worker, &grace)
        );
        one.unwrap();
        two.unwrap();
        assert_eq!(bench.status(&worker).await.exit, Some(ExitStatus::Code(7)));
        assert_eq!(bench.text(&worker, &LogOptions::all()).await, "ready\nasked\n");
        bench.provider.stop_worker(&worker, &grace).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d2_who_ignores_the_request_is_killed_at_the_deadline() {
    on_engine("ignore", |bench| async move {
        let worker = bench.run("a", "trap '' TERM; echo ready; while true; do sleep 0.05; done").await;
        bench.says(&worker, "ready").await;
        let begin = Instant::now();
        bench.provider.stop_worker(&worker, &StopOptions::within(Duration::from_millis(700))).await.unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(700));
        assert_eq!(bench.status(&worker).await.exit, Some(ExitStatus::CodeOrSignal(137)));
        let worker = bench.run("b", "trap '' TERM; echo ready; while true; do sleep 0.05; done").await;
        bench.says(&worker, "ready").await;
        // A long grace is shortened by a later call.
        let grace = StopOptions::within(Duration::from_secs(600));
        let patient = bench.provider.stop_worker(&worker, &grace);
        let hasty = async {
            let stranger = bench.stranger().await;
            stranger.provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
        };
        let (stopped, ()) = limit(Box::pin(async { tokio::join!(patient, hasty) })).await;
        stopped.unwrap();
        assert_eq!(bench.status(&worker).await.exit, Some(ExitStatus::CodeOrSignal(137)));
    })
    .await;
}

#[tokio::test]
async fn d2_the_image_decides_the_signal_unless_the_options_do() {
    on_engine("signal", |bench| async move {
        let script = "trap 'exit 3' INT; trap 'exit 4' TERM; echo ready; while true; do sleep 0.05; done";
        let options = DockerOptions::default().stop_signal("SIGINT");
        let config = bench.script("a", script).options(&options).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.says(&worker, "ready").await;
        let long = StopOptions::within(Duration::MAX);
        bench.stranger().await.provider.stop_worker(&worker, &long).await.unwrap();
        assert_eq!(bench.status(&worker).await.exit, Some(ExitStatus::Code(3)));
    })
    .await;
}

#[tokio::test]
async fn d2_a_native_restart_policy_is_called_off_by_a_stop() {
    on_engine("native", |bench| async move {
        let options = DockerOptions::default().native_restart(NativeRestart::UnlessStopped);
        let config = bench.script("a", "exit 1").options(&options).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let first = bench.until(&worker, |status| status.run.is_some()).await.run.clone();
        bench.until(&worker, |status| status.run != first).await;
        bench.provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
        bench.until(&worker, |status| status.phase == WorkerPhase::Exited).await;
        assert_eq!(bench.status(&worker).await.phase, WorkerPhase::Exited);
    })
    .await;
}

#[tokio::test]
async fn d3_a_missing_bind_source_is_named_and_leaves_nothing() {
    on_engine("bind", |bench| async move {
        let config = bench.script("a", "true").mount(Mount::bind("/no/such/folder", "/in")).build().unwrap();
        let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert_eq!(error.context_value("field"), Some("mounts[0].source.bind.path"));
        assert!(bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.is_empty());
    })
    .await;
}

#[tokio::test]
async fn d3_volumes_of_ours_go_with_their_last_user_and_others_stay() {
    on_engine("volume", |bench| async move {
        let (ours, theirs) =
            (format!("ours-{}", bench.installation), format!("theirs-{}", bench.installation));
        let raw = bench.raw();
        raw.create_volume(&theirs).await;
        let script = "echo kept >> /ours/file; echo kept >> /theirs/file; echo kept > /memory/file";
        let config = |id: &str| {
            let script = bench.script(id, script);
            let script = script.mount(Mount::volume(&ours, "/ours")).mount(Mount::volume(&theirs, "/theirs"));
            script.mount(Mount::tmpfs("/memory", None)).build().unwrap()
        };
        let (a, b) = (bench.create(&config("a")).await, bench.create(&config("b")).await);
        bench.provider.start_worker(&a, &StartOptions::default()).await.unwrap();
        assert!(bench.ended(&a).await.succeeded());
        bench.provider.delete_worker(&a, &DeleteOptions::default()).await.unwrap();
        assert!(raw.has_volume(&ours).await, "another worker uses it");
        bench.provider.delete_worker(&b, &DeleteOptions::keeping_volumes()).await.unwrap();
        assert!(raw.has_volume(&ours).await, "it was to be kept");
        let c = bench.create(&config("c")).await;
        bench.stranger().await.provider.delete_worker(&c, &DeleteOptions::default()).await.unwrap();
        let left = (raw.has_volume(&ours).await, raw.has_volume(&theirs).await);
        raw.remove_volume(&theirs).await;
        assert_eq!(left, (false, true));
    })
    .await;
}

#[tokio::test]
async fn d2_a_refused_creation_leaves_a_live_worker_and_nothing_of_its_own() {
    on_engine("refused", |bench| async move {
        let secret = SecretReference::file("db/password", "/run/secrets/db");
        let config = bench.script("a", "sleep 1000").secret(secret.clone()).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let never = DockerOptions::default().pull(PullPolicy::Never);
        let other = bench.script("a", "true").image("hodei-test/not-here:1").options(&never);
        let other = other.secret(secret).build().unwrap();
        let error = bench.provider.create_worker(&other, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        let read = ExecOptions::new(["cat", "/run/secrets/db"]);
        let read = bench.provider.exec_in_worker(&worker, &read).await.unwrap().collect().await.unwrap();
        assert_eq!(read.stdout, b"planted-hunter2");
        let id = bench.status(&worker).await.native_id.clone();
        let mounts = bench.raw().inspect(&id).await.mounts.unwrap_or_default();
        let source = mounts[0].source.clone().unwrap();
        assert_eq!(std::fs::read(source).unwrap(), b"planted-hunter2", "the engine cannot restart it");
        // The engine makes the volume before it sees that it does not know the log driver.
        let volume = format!("half-{}", bench.installation);
        let half = bench.script("b", "true").mount(Mount::volume(&volume, "/x"));
        let half = half.options(&DockerOptions::default().log_driver("no-such")).build().unwrap();
        let error = bench.provider.create_worker(&half, &CreateOptions::default()).await.unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        assert!(!bench.raw().has_volume(&volume).await, "{volume} is left");
        // What an earlier one has kept stays, however young it is.
        let kept = bench.script("b", "true").mount(Mount::volume(&volume, "/x")).build().unwrap();
        let kept = bench.create(&kept).await;
        bench.provider.delete_worker(&kept, &DeleteOptions::keeping_volumes()).await.unwrap();
        bench.provider.create_worker(&half, &CreateOptions::default()).await.unwrap_err();
        let stays = bench.raw().has_volume(&volume).await;
        bench.provider.delete_worker(&kept, &DeleteOptions::default()).await.unwrap();
        assert!(stays, "{volume} was to be kept");
        assert!(!bench.raw().has_volume(&volume).await, "{volume} is left");
    })
    .await;
}

#[tokio::test]
async fn d4_ports_are_published_on_loopback_and_told() {
    on_engine("ports", |bench| async move {
        let script = "while true; do echo hello | nc -l -p 8080; done";
        let config = bench.script("a", script).port(Port::tcp(8080)).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let status = bench.status(&worker).await;
        let address = status.address(8080).unwrap();
        assert!(address.host == "127.0.0.1" && address.host_port != 0, "{address:?}");
        let connect = (address.host.as_str(), address.host_port);
        let said = limit(async {
            loop {
                // The proxy of the engine listens before the worker does.
                let mut stream = tokio::net::TcpStream::connect(connect).await.unwrap();
                let mut said = String::new();
                let read = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut said).await;
                if read.is_ok() && !said.is_empty() {
                    return said;
                }
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(said.await, "hello\n");
    })
    .await;
}

#[tokio::test]
async fn d4_a_port_that_is_taken_may_be_free_later() {
    on_engine("taken", |bench| async move {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Port::tcp(80).on_host_port(taken.local_addr().unwrap().port());
        let worker = bench.create(&bench.script("a", "sleep 1000").port(port).build().unwrap()).await;
        let error = bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap_err();
        assert!(error.kind() != ErrorKind::Config && error.is_retryable(), "{error}");
        drop(taken);
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        assert_eq!(bench.status(&worker).await.phase, WorkerPhase::Running);
    })
    .await;
}

#[tokio::test]
async fn d5_limits_are_enforced_and_an_out_of_memory_kill_is_told() {
    on_engine("limits", |bench| async move {
        let script = "a=x; while true; do a=$a$a; done";
        let config = bench.script("a", script).memory_limit("16Mi").build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let ended = bench.ended(&worker).await;
        assert_eq!(
            (ended.failure, ended.out_of_memory),
            (Some(FailureClass::OutOfMemory), true),
            "{ended:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn d5_usage_is_measured_while_it_runs() {
    on_engine("stats", |bench| async move {
        let worker = bench.run("a", "while true; do :; done").await;
        let first = bench.provider.worker_stats(&worker, &StatsOptions::default()).await.unwrap();
        let risen = async {
            loop {
                let stats = bench.provider.worker_stats(&worker, &StatsOptions::default()).await.unwrap();
                if stats.cpu_time > first.cpu_time {
                    return stats;
                }
            }
        };
        let stats = limit(risen).await;
        assert!(stats.memory.is_some_and(|bytes| bytes > 0) && stats.pids.is_some_and(|pids| pids >= 1));
        bench.provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
        let error = bench.provider.worker_stats(&worker, &StatsOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    })
    .await;
}

#[tokio::test]
async fn d2_exec_has_input_two_outputs_and_an_exit_code() {
    use tokio::io::AsyncWriteExt as _;
    on_engine("exec", |bench| async move {
        let worker = bench.run("a", "sleep 1000").await;
        let script = "cat; echo $WORD >&2; pwd >&2; exit 5";
        let options =
            ExecOptions::new(["sh", "-c", script]).with_stdin().env("WORD", "hi").working_dir("/tmp");
        let mut session = bench.provider.exec_in_worker(&worker, &options).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        let input: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        let writer = tokio::spawn({
            let input = input.clone();
            async move {
                stdin.write_all(&input).await.unwrap();
                drop(stdin);
            }
        });
        let output = limit(session.collect()).await.unwrap();
        writer.await.unwrap();
        assert_eq!(output.exit, Some(ExitStatus::Code(5)));
        assert!(output.stdout == input, "{} bytes came back", output.stdout.len());
        assert_eq!(output.stderr, b"hi\n/tmp\n");
        // A session that is dropped lets go of a command that does not read.
        let deaf = ExecOptions::new(["sh", "-c", "sleep 1000"]).with_stdin();
        let mut session = bench.provider.exec_in_worker(&worker, &deaf).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        let blocked = tokio::spawn(async move { while stdin.write_all(&[0; 65536]).await.is_ok() {} });
        drop(session);
        limit(blocked).await.unwrap();
        let session = bench.provider.exec_in_worker(&worker, &ExecOptions::new(["no-such"])).await.unwrap();
        let error = session.collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let script = ExecOptions::new(["sh", "-c", "echo said; exit 127"]);
        let output = bench.provider.exec_in_worker(&worker, &script).await.unwrap().collect().await.unwrap();
        assert_eq!((output.exit, &output.stdout[..]), (Some(ExitStatus::Code(127)), &b"said\n"[..]));
        bench.provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
        let error = bench.provider.exec_in_worker(&worker, &ExecOptions::new(["true"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        let error = bench.provider.exec_in_worker(&worker, &ExecOptions::new(["true"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    })
    .await;
}

#[tokio::test]
async fn d9_a_command_check_is_run_by_the_engine() {
    use hodei_worker_core::{
        model::{HealthCheckConfig, Probe},
        quantity::HumanDuration,
        status::Health,
    };
    on_engine("health", |bench| async move {
        let check = Probe::Command(["test", "-e", "/tmp/well"].map(str::to_owned).to_vec());
        let mut check = HealthCheckConfig::new(check).every(HumanDuration::secs(1));
        check.failure_threshold = 1;
        let config = bench.script("a", "touch /tmp/well; sleep 1000").health_check(check).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.until(&worker, |status| status.health == Some(Health::Healthy)).await;
        let ill = ExecOptions::new(["rm", "/tmp/well"]);
        bench.provider.exec_in_worker(&worker, &ill).await.unwrap().collect().await.unwrap();
        bench.until(&worker, |status| status.health == Some(Health::Unhealthy)).await;
    })
    .await;
}

#[tokio::test]
async fn d2_options_that_the_engine_does_not_know_are_refused_and_all_others_are_kept() {
    use hodei_worker_core::model::{HealthCheckConfig, NetworkAttachment, Probe};
    on_engine("versions", |bench| async move {
        let network = format!("versions-{:08x}", fastrand::u32(..));
        let mac = "02:00:00:00:00:07";
        let mut check = HealthCheckConfig::new(Probe::command(["true"]));
        check.start_period = "60s".parse().unwrap();
        let asked = |change: &dyn Fn(&mut DockerOptions)| {
            let mut options = DockerOptions::default();
            change(&mut options);
            options
        };
        let annotations = |all: &mut DockerOptions| drop(all.annotations.insert("a".into(), "b".into()));
        let interval = |all: &mut DockerOptions| all.health.start_interval = Some("2s".parse().unwrap());
        let address = |all: &mut DockerOptions| all.networking.mac_address = Some(mac.to_owned());
        let subpath = |all: &mut DockerOptions| {
            let mut mount = hodei_worker_docker::MountOptions::default();
            mount.subpath = Some("inside".to_owned());
            all.storage.mounts.insert("/data".to_owned(), mount);
        };
        let version = bench.provider.client().client_version();
        for (id, (major, minor), field, options) in [
            ("annotated", (1, 43), "annotations", asked(&annotations)),
            ("checked", (1, 44), "health.start_interval", asked(&interval)),
            ("inside", (1, 45), "storage.mounts./data.subpath", asked(&subpath)),
            ("addressed", (1, 0), "networking.mac_address", asked(&address)),
            ("alone", (1, 0), "networking.mac_address", asked(&address)),
        ] {
            let volume = format!("{network}-{id}");
            let config =
                bench.script(id, "sleep 1000").mount(Mount::volume(&volume, "/data")).options(&options);
            let config = match id {
                "alone" => config,
                _ => config.network(NetworkAttachment::new(&network)),
            };
            let config = config.health_check(check.clone()).build().unwrap();
            let created = bench.provider.create_worker(&config, &CreateOptions::default()).await;
            if (version.major_version, version.minor_version) < (major, minor) {
                let error = created.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                let field = format!("options.docker.{field}");
                assert_eq!(error.context_value("field"), Some(field.as_str()));
                for part in [format!("API {version}"), format!("API {major}.{minor}")] {
                    assert!(error.to_string().contains(&part), "{part} is missing in {error}");
                }
                assert!(!bench.raw().has_volume(&volume).await && !bench.raw().has_network(&network).await);
                continue;
            }
            let handle = created.unwrap();
            if field == "networking.mac_address" {
                // An engine tells the address of an interface that there is.
                bench.provider.start_worker(&handle.worker, &StartOptions::default()).await.unwrap();
            }
            let inspected = bench.raw().inspect(&handle.native_id).await;
            let (host, config) = (inspected.host_config.unwrap(), inspected.config.unwrap());
            let on = inspected.network_settings.unwrap().networks.unwrap().into_values().next().unwrap();
            match id {
                "annotated" => assert_eq!(host.annotations.unwrap()["a"], "b"),
                "checked" => {
                    assert_eq!(config.healthcheck.unwrap().start_interval, Some(2_000_000_000));
                }
                "inside" => {
                    let volume = host.mounts.unwrap().remove(0).volume_options.unwrap();
                    assert_eq!(volume.subpath.as_deref(), Some("inside"));
                }
                _ => assert_eq!(on.mac_address.as_deref(), Some(mac), "{id}"),
            }
        }
    })
    .await;
}
