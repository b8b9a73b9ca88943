//! D1: reaching an engine, and saying why it cannot be reached.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
    time::Duration,
};

use common::{
    Bench, installation, limit, next, on_engine_with,
    proxy::{Mode, Proxy},
    socket, until_synced, var,
};
use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Retry, WorkerPhase, WorkerProvider as _,
    provider::{
        DeleteOptions, ExecOptions, LogOptions, StartOptions, StopOptions, WatchOptions, WorkerFilter,
    },
};
use hodei_worker_docker::{DockerSettings, TlsSettings};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

async fn refused(settings: DockerSettings) -> Error {
    limit(Bench::connect(settings, &installation("refused"))).await.map(|_| ()).unwrap_err()
}

fn certificates() -> TlsSettings {
    TlsSettings::in_folder(var("HODEI_TEST_DOCKER_CERTS"))
}

#[tokio::test]
async fn d1_no_socket_is_told_with_its_remedy() {
    let error = refused(DockerSettings::at("unix:///no/such/docker.sock")).await;
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Safe { after: None }),
        "{error}"
    );
    assert!(error.to_string().contains("systemctl start docker"), "{error}");
    assert_eq!(error.context_value("endpoint"), Some("unix:///no/such/docker.sock"));
}

#[tokio::test]
async fn d1_a_dead_engine_is_told_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = refused(DockerSettings::at(format!("unix://{}", path.display()))).await;
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Safe { after: None }),
        "{error}"
    );
    assert!(error.to_string().contains("journalctl -u docker"), "{error}");
}

/// Root may open every socket, so that this test runs itself again as somebody else.
const SOCKET_OF_OTHERS: &str = "HODEI_TEST_SOCKET_OF_OTHERS";

#[tokio::test]
async fn d1_a_refused_permission_is_told_with_its_remedy() {
    if let Ok(endpoint) = std::env::var(SOCKET_OF_OTHERS) {
        let error = refused(DockerSettings::at(endpoint)).await;
        assert_eq!((error.kind(), error.retry()), (ErrorKind::PermissionDenied, Retry::Never), "{error}");
        assert!(error.to_string().contains("usermod -aG docker"), "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    // A copy where everybody may run it.
    let copy = folder.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut again = Command::new(copy);
    again.args(["--exact", "d1_a_refused_permission_is_told_with_its_remedy"]).current_dir("/");
    again.env(SOCKET_OF_OTHERS, format!("unix://{}", path.display()));
    if std::fs::metadata(&path).is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0) {
        again.uid(65534).gid(65534);
    } else {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    }
    let output = tokio::task::spawn_blocking(move || again.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn d1_tls_works_with_certificates() {
    let settings = DockerSettings::at(var("HODEI_TEST_DOCKER_TLS")).with_tls(certificates());
    on_engine_with("tls", settings, |bench| async move {
        let worker = bench.run("a", "echo hello").await;
        bench.ended(&worker).await;
        assert_eq!(bench.text(&worker, &Default::default()).await, "hello\n");
        let output = bench.script("b", "true").build().unwrap();
        // It may not see our files: what would be a file is a volume's, which must not hide others.
        let secret = hodei_worker_core::model::SecretReference::file("db/password", "/x");
        let mut spec = output.to_spec();
        spec.secrets.push(secret);
        let config = hodei_worker_core::WorkerConfig::new(spec).unwrap();
        let error = bench.provider.create_worker(&config, &Default::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    })
    .await;
}

#[tokio::test]
async fn d1_tls_failures_say_which_side_did_not_accept_the_other() {
    let endpoint = var("HODEI_TEST_DOCKER_TLS");
    let mut anonymous = certificates();
    (anonymous.cert, anonymous.key) = (None, None);
    let error = refused(DockerSettings::at(&endpoint).with_tls(anonymous)).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert!(error.to_string().contains("`tls.cert`"), "{error}");
    // A certificate that vouches for nobody else: our own.
    let mut wrong = certificates();
    wrong.ca = wrong.cert.clone().unwrap();
    let error = refused(DockerSettings::at(&endpoint).with_tls(wrong)).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert!(error.to_string().contains("`tls.ca`"), "{error}");
    let error = refused(DockerSettings::at(&endpoint)).await;
    assert!(error.to_string().contains("set `tls`"), "{error}");
    let (endpoint, task) = answering("400 Bad Request", "").await;
    let error = refused(DockerSettings::at(endpoint).with_tls(certificates())).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    task.abort();
}

/// Something that speaks HTTP and gives one answer to everything.
async fn answering(status: &'static str, body: &'static str) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut buffer = vec![0; 4096];
            let _asked = client.read(&mut buffer).await;
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            client.write_all(answer.as_bytes()).await.ok();
            client.shutdown().await.ok();
        }
    });
    (endpoint, task)
}

#[tokio::test]
async fn d1_a_wrong_endpoint_is_told() {
    let error = refused(DockerSettings::at("tcp://127.0.0.1:9")).await;
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Safe { after: None }),
        "{error}"
    );
    let error = refused(DockerSettings::at("tcp://no-such-host.invalid:2375")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let (endpoint, task) = answering("404 Not Found", "<html>").await;
    let error = refused(DockerSettings::at(endpoint)).await;
    assert!(error.to_string().contains("is this a Docker Engine?"), "{error}");
    task.abort();
    let (endpoint, task) = answering("200 OK", "<html>").await;
    assert_eq!(refused(DockerSettings::at(endpoint)).await.kind(), ErrorKind::Unexpected);
    task.abort();
    let error = refused(DockerSettings::at("ftp://x")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn d1_an_engine_that_never_answers_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = DockerSettings::at(format!("tcp://{}", listener.local_addr().unwrap()));
    settings.request_timeout = "1s".parse().unwrap();
    let error = refused(settings).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::IfIdempotent), "{error}");
}

#[tokio::test]
async fn d1_an_answer_without_an_end_is_a_timeout_and_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = DockerSettings::at(format!("tcp://{}", listener.local_addr().unwrap()));
    settings.request_timeout = "1s".parse().unwrap();
    let engine = tokio::spawn(async move {
        let mut all = tokio::task::JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            all.spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(count @ 1..) = client.read(&mut buffer).await {
                    let asked = String::from_utf8_lossy(&buffer[..count]).into_owned();
                    let (body, more) = if asked.contains("/containers/create") {
                        (r#"{"Id":"#, 100)
                    } else if asked.contains("/version") || asked.contains("/info") {
                        (r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#, 0)
                    } else if asked.contains("/containers/json") || asked.contains("/networks?") {
                        ("[]", 0)
                    } else {
                        ("{}", 0)
                    };
                    let status = if asked.contains("/hodei.") { "404 Not Found" } else { "200 OK" };
                    let length = body.len() + more;
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                    client.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let bench = Bench::connect(settings, &installation("endless")).await.unwrap();
    let config = hodei_worker_core::WorkerConfig::builder("a").image("busybox:1").build().unwrap();
    let created = limit(bench.provider.create_worker(&config, &Default::default())).await;
    assert_eq!(created.unwrap_err().kind(), ErrorKind::Timeout);
    let worker = hodei_worker_core::WorkerRef::first(config.worker_id.clone());
    limit(bench.provider.delete_worker(&worker, &Default::default())).await.unwrap();
    engine.abort();
}

#[tokio::test]
async fn d1_versions_are_negotiated_both_ways() {
    for (body, agreed) in [
        (r#"{"ApiVersion":"1.20","MinAPIVersion":"1.12"}"#, false),
        (r#"{"ApiVersion":"2.10","MinAPIVersion":"2.0"}"#, false),
        (r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#, true),
        (r#"{"ApiVersion":"1.99","MinAPIVersion":"1.44"}"#, true),
    ] {
        let (endpoint, task) = answering("200 OK", body).await;
        // The same answer to `/info` is an engine that says nothing of itself.
        match limit(Bench::connect(DockerSettings::at(endpoint), &installation("version"))).await {
            Ok(bench) => {
                assert!(agreed, "{body}");
                let version = bench.provider.client().client_version().to_string();
                assert_eq!(version, if body.contains("1.41") { "1.41" } else { "1.53" });
            }
            Err(error) => {
                assert!(!agreed, "{error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            }
        }
        task.abort();
    }
}

#[tokio::test]
async fn p6_nothing_is_retried_below_the_port() {
    let proxy = Proxy::unix(socket());
    on_engine_with("retries", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let worker = bench.create(&bench.script("a", "true").build().unwrap()).await;
        proxy.set(Mode::Refuse);
        proxy.take();
        let error = bench.provider.get_worker_status(&worker).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unexpected, Retry::IfIdempotent), "{error}");
        assert_eq!(proxy.take().len(), 1);
        bench.provider.list_workers(&WorkerFilter::all()).await.unwrap_err();
        assert_eq!(proxy.take().len(), 1);
        let other = bench.script("b", "true").build().unwrap();
        bench.provider.create_worker(&other, &Default::default()).await.unwrap_err();
        assert_eq!(proxy.take().len(), 1);
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap_err();
        assert_eq!(proxy.take().len(), 1);
        bench.provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap_err();
        assert_eq!(proxy.take().len(), 1);
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap_err();
        assert_eq!(proxy.take().len(), 1);
        let command = ExecOptions::new(["true"]);
        assert!(bench.provider.exec_in_worker(&worker, &command).await.is_err());
        assert_eq!(proxy.take().len(), 1);
        assert!(bench.provider.worker_logs(&worker, &LogOptions::all()).await.is_err());
        assert_eq!(proxy.take().len(), 1);
        assert!(bench.provider.watch_workers(&WatchOptions::default()).await.is_err());
        assert_eq!(proxy.take().len(), 1);
        // A pull: the creation itself, which the engine refuses, the pull, and a look why it failed.
        proxy.set(Mode::Pass);
        proxy.plan("/images/create", 500, r#"{"message":"refused"}"#);
        let missing = bench.script("c", "true").image("127.0.0.1:9/none:1").build().unwrap();
        bench.provider.create_worker(&missing, &Default::default()).await.unwrap_err();
        let pulls = proxy.take().iter().filter(|asked| asked.contains("/images/create")).count();
        assert_eq!(pulls, 1);
    })
    .await;
}

#[tokio::test]
async fn l10_a_container_that_the_engine_does_not_tell_of_hides_no_other() {
    let proxy = Proxy::unix(socket());
    let mut settings = DockerSettings::at(&proxy.endpoint);
    settings.request_timeout = "2s".parse().unwrap();
    on_engine_with("stuck", settings, |bench| async move {
        let stuck = bench.run("stuck", "sleep 1000").await;
        let well = bench.run("well", "sleep 1000").await;
        let path = format!("/containers/{}/json", bench.status(&stuck).await.native_id).leak();
        proxy.set(Mode::Lose(path));
        let listed = limit(bench.provider.list_workers(&WorkerFilter::all())).await.unwrap();
        let phase = |worker| listed.workers.iter().find(|status| status.worker == worker).unwrap().phase;
        assert_eq!((phase(stuck.clone()), phase(well.clone())), (WorkerPhase::Unknown, WorkerPhase::Running));
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        bench.provider.stop_worker(&well, &StopOptions::kill()).await.unwrap();
        let is = |worker: &hodei_worker_core::WorkerRef, phase| {
            let worker = worker.clone();
            move |change: hodei_worker_core::WorkerObservation| {
                change.status().filter(|status| status.worker == worker && status.phase == phase).map(|_| ())
            }
        };
        next(&mut changes, is(&well, WorkerPhase::Exited)).await;
        // It is looked at again by and by.
        proxy.set(Mode::Pass);
        next(&mut changes, is(&stuck, WorkerPhase::Running)).await;
        let other = bench.stranger().await;
        proxy.set(Mode::Lose(path));
        other.provider.stop_worker(&stuck, &StopOptions::kill()).await.unwrap();
        next(&mut changes, is(&stuck, WorkerPhase::Unknown)).await;
        proxy.set(Mode::Pass);
        next(&mut changes, is(&stuck, WorkerPhase::Exited)).await;
        // What somebody else's list does not find out, the watch does.
        proxy.set(Mode::Lose(path));
        limit(bench.provider.list_workers(&WorkerFilter::all())).await.unwrap();
        proxy.set(Mode::Pass);
        next(&mut changes, is(&stuck, WorkerPhase::Exited)).await;
    })
    .await;
}

#[tokio::test]
async fn l10_a_connection_that_died_without_a_sign_is_noticed() {
    let proxy = Proxy::tcp(socket()).await;
    let mut settings = DockerSettings::at(&proxy.endpoint);
    settings.silence_limit = Duration::from_millis(300).into();
    on_engine_with("silent", settings, |bench| async move {
        let worker = bench.create(&bench.script("a", "sleep 1000").build().unwrap()).await;
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        proxy.freeze();
        bench.stranger().await.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        next(&mut changes, |change| {
            change.status().filter(|status| status.phase == WorkerPhase::Running).map(|_| ())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn d8_a_follower_does_not_ask_again_and_again_while_the_watch_is_blind() {
    let proxy = Proxy::tcp(socket()).await;
    let mut settings = DockerSettings::at(&proxy.endpoint);
    settings.request_timeout = "1s".parse().unwrap();
    on_engine_with("blind", settings, |bench| async move {
        let worker = bench.run("a", "echo said; sleep 1000").await;
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        next(&mut changes, |change| {
            change.status().filter(|status| status.phase == WorkerPhase::Running).map(|_| ())
        })
        .await;
        proxy.freeze();
        let stranger = bench.stranger().await;
        stranger.provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
        // What was open before is dead, which shows to who asks.
        while bench.provider.get_worker_status(&worker).await.is_err() {}
        proxy.take();
        let mut logs = bench.provider.worker_logs(&worker, &LogOptions::following()).await.unwrap();
        assert_eq!(logs.next().await.unwrap().unwrap().chunk().unwrap().text(), "said");
        proxy.asked("/json").await;
        proxy.take();
        for _ in 0..200 {
            stranger.status(&worker).await;
        }
        let asked = proxy.take().len();
        assert!(asked <= 10, "{asked} requests");
    })
    .await;
}

#[tokio::test]
async fn l5_a_start_does_not_trust_a_watch_that_may_be_blind() {
    let proxy = Proxy::tcp(socket()).await;
    let mut settings = DockerSettings::at(&proxy.endpoint);
    settings.request_timeout = "1s".parse().unwrap();
    on_engine_with("blind-start", settings, |bench| async move {
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        let worker = bench.create(&bench.script("a", "echo ran").build().unwrap()).await;
        next(&mut changes, |change| change.status().map(|_| ())).await;
        proxy.freeze();
        let stranger = bench.stranger().await;
        stranger.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let ended = stranger.ended(&worker).await;
        // What was open before is dead, which shows to who asks.
        while bench.provider.get_worker_status(&worker).await.is_err() {}
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        assert_eq!(stranger.status(&worker).await.run, ended.run, "it ran again");
    })
    .await;
}

#[tokio::test]
async fn p7_the_noise_of_others_makes_no_watch_begin_again() {
    let proxy = Proxy::tcp(socket()).await;
    let mut settings = DockerSettings::at(&proxy.endpoint);
    settings.silence_limit = Duration::from_millis(300).into();
    on_engine_with("noise", settings, |bench| async move {
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        let noise = bench.raw();
        let mut listed = 0;
        // More than the engine remembers, and little from one renewal to the next.
        for n in 0..30 {
            listed += proxy.take().iter().filter(|asked| asked.contains("/containers/json")).count();
            for m in 0..5 {
                let name = format!("noise-{}-{n}-{m}", bench.installation);
                noise.create_volume(&name).await;
                noise.remove_volume(&name).await;
            }
            proxy.asked("/events?since=1&").await;
        }
        // The one that it began with.
        assert!(listed <= 1, "{listed} lists");
    })
    .await;
}

#[tokio::test]
async fn l10_a_memory_of_the_engine_that_cannot_be_read_is_not_taken_for_whole() {
    let proxy = Proxy::tcp(socket()).await;
    let mut settings = DockerSettings::at(&proxy.endpoint);
    settings.silence_limit = Duration::from_millis(300).into();
    on_engine_with("unread", settings, |bench| async move {
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        proxy.plan("/events?since=1&", 200, "no event\n");
        next(&mut changes, |change| (change == hodei_worker_core::WorkerObservation::Resync).then_some(()))
            .await;
    })
    .await;
}

#[tokio::test]
async fn l10_what_an_engine_has_forgotten_during_a_silence_is_listed() {
    let proxy = Proxy::tcp(socket()).await;
    let mut settings = DockerSettings::at(&proxy.endpoint);
    settings.silence_limit = Duration::from_secs(20).into();
    on_engine_with("forgot", settings, |bench| async move {
        let worker = bench.create(&bench.script("a", "sleep 1000").build().unwrap()).await;
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        proxy.freeze();
        let stranger = bench.stranger().await;
        stranger.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        // Volumes come and go, which is cheap, until the engine's memory is full of them.
        let noise = stranger.raw();
        for n in 0..150 {
            let name = format!("noise-{}-{n}", bench.installation);
            noise.create_volume(&name).await;
            noise.remove_volume(&name).await;
        }
        next(&mut changes, |change| {
            change.status().filter(|status| status.phase == WorkerPhase::Running).map(|_| ())
        })
        .await;
    })
    .await;
}
