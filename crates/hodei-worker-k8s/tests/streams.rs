//! K2: connections to ports of workers, and the streams of their own programs.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{io, sync::Arc};

use common::{Bench, limit, on_cluster};
use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, WorkerPhase, WorkerProvider as _, WorkerRef,
    provider::{DeleteOptions, ExecOptions, ExecSession, LogStream, StartOptions, WorkerConnection},
    status::ExitStatus,
};
use hodei_worker_k8s::KubernetesOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn running(bench: &Bench, id: &str, script: &str) -> WorkerRef {
    let worker = bench.run(&bench.script(id, script).stop_grace("1s").build().unwrap()).await;
    bench.until(&worker, |status| status.phase == WorkerPhase::Running).await;
    worker
}

async fn run_in(bench: &Bench, worker: &WorkerRef, script: &str) {
    let session =
        bench.provider.exec_in_worker(worker, &ExecOptions::new(["sh", "-c", script])).await.unwrap();
    let output = limit(session.collect()).await.unwrap();
    assert_eq!(output.exit, Some(ExitStatus::Code(0)), "{script}: {output:?}");
}

async fn connect(bench: &Bench, worker: &WorkerRef, port: u16) -> Box<dyn WorkerConnection> {
    limit(bench.provider.connect_worker_port(worker, port)).await.unwrap()
}

/// What a GET of `/` brings.
async fn get(bench: &Bench, worker: &WorkerRef, port: u16) -> io::Result<String> {
    let mut connection = connect(bench, worker, port).await;
    connection.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = String::new();
    limit(connection.read_to_string(&mut answer)).await.map(|_| answer)
}

async fn refused(bench: &Bench, worker: &WorkerRef, port: u16) -> io::Error {
    let error = limit(connect(bench, worker, port).await.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error:?}");
    error
}

const WEB: &str = "mkdir -p /tmp/web; echo hello > /tmp/web/index.html; exec httpd -f -p 8080 -h /tmp/web";

#[tokio::test]
async fn k2_a_port_of_a_worker_is_spoken_with_through_the_api_server() {
    on_cluster("port", |bench| async move {
        let worker = running(&bench, "web", WEB).await;
        let answer = limit(async {
            loop {
                // It may not listen yet.
                match get(&bench, &worker, 8080).await {
                    Ok(answer) => return answer,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error:?}"),
                }
            }
        });
        let answer = answer.await;
        assert!(answer.starts_with("HTTP/1.") && answer.ends_with("\r\n\r\nhello\n"), "{answer}");
        // As many at once as there are.
        let all = (0..8).map(|_| get(&bench, &worker, 8080));
        for again in futures::future::join_all(all).await {
            assert!(again.unwrap().ends_with("hello\n"));
        }
    })
    .await;
}

#[tokio::test]
async fn k2_a_port_at_which_nobody_listens_refuses_and_is_no_success() {
    on_cluster("closed", |bench| async move {
        let worker = running(&bench, "a", "sleep 1000").await;
        for _ in 0..10 {
            let error = refused(&bench, &worker, 81).await;
            assert!(error.to_string().contains("81"), "{error}");
        }
        // One who has written before it is told so.
        let mut connection = connect(&bench, &worker, 81).await;
        connection.write_all(b"is anybody there?").await.unwrap();
        let error = limit(connection.read_u8()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error:?}");
        // It stays so.
        assert_eq!(connection.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    })
    .await;
}

#[tokio::test]
async fn k2_much_goes_through_a_port_and_its_end_is_told() {
    on_cluster("much", |bench| async move {
        let script = "while true; do head -c 3000000 /dev/zero | nc -l -p 8081; done";
        let worker = running(&bench, "a", script).await;
        let bytes = limit(async {
            loop {
                let mut connection = connect(&bench, &worker, 8081).await;
                let mut all = Vec::new();
                match connection.read_to_end(&mut all).await {
                    Ok(_) => return all,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error:?}"),
                }
            }
        })
        .await;
        assert_eq!(bytes.len(), 3_000_000);
    })
    .await;
}

#[tokio::test]
async fn k2_a_port_of_one_that_does_not_run_or_is_gone_is_an_error_of_its_own() {
    on_cluster("absent", |bench| async move {
        let nobody = WorkerRef::first("nobody".parse().unwrap());
        let connected = bench.provider.connect_worker_port(&nobody, 80).await.map(|_| ());
        assert_eq!(connected.unwrap_err().kind(), ErrorKind::NotFound);
        let worker = bench.create(&bench.script("a", "exit 0").build().unwrap()).await;
        let connected = bench.provider.connect_worker_port(&worker, 80).await.map(|_| ());
        assert_eq!(connected.unwrap_err().kind(), ErrorKind::Conflict);
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.until(&worker, |status| status.phase == WorkerPhase::Exited).await;
        let connected = bench.provider.connect_worker_port(&worker, 80).await.map(|_| ());
        assert_eq!(connected.unwrap_err().kind(), ErrorKind::Conflict);
        // One that ends under an open connection says nothing else than that.
        let worker = running(&bench, "b", WEB).await;
        let mut connection = limit(async {
            loop {
                if get(&bench, &worker, 8080).await.is_ok() {
                    return connect(&bench, &worker, 8080).await;
                }
            }
        })
        .await;
        limit(bench.provider.delete_worker(&worker, &DeleteOptions::default())).await.unwrap();
        let ended = limit(connection.read_u8()).await.unwrap_err();
        let broke = ended.get_ref().is_some_and(|inner| inner.is::<Error>());
        assert!(!broke, "{ended:?}");
    })
    .await;
}

/// Reads until this was written to that stream.
async fn read_until(session: &mut ExecSession, from: LogStream, text: &str) {
    let mut read = Vec::new();
    limit(async {
        while !String::from_utf8_lossy(&read).contains(text) {
            let (stream, bytes) = session.output.next().await.expect("the output has ended").unwrap();
            if stream == from {
                read.extend_from_slice(&bytes);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn k2_who_attaches_hears_what_follows_and_how_it_ends() {
    on_cluster("attach", |bench| async move {
        let script = "trap 'exit 3' TERM; n=0; \
                      while [ ! -e /tmp/end ]; do n=$((n+1)); echo out-$n; echo err-$n >&2; sleep 0.1; done; \
                      echo last; exit 7";
        let worker = running(&bench, "a", script).await;
        let mut session = bench.provider.attach(&worker).await.unwrap();
        assert!(session.stdin.is_none());
        read_until(&mut session, LogStream::Stdout, "out-").await;
        read_until(&mut session, LogStream::Stderr, "err-").await;
        // A second one is no worse off, and its end is not the worker's.
        let mut other = bench.provider.attach(&worker).await.unwrap();
        read_until(&mut other, LogStream::Stdout, "out-").await;
        drop(other);
        run_in(&bench, &worker, "touch /tmp/end").await;
        read_until(&mut session, LogStream::Stdout, "last\n").await;
        assert_eq!(limit(session.exit()).await.unwrap(), ExitStatus::Code(7));
    })
    .await;
}

#[tokio::test]
async fn k2_who_attaches_to_one_with_an_input_is_heard() {
    on_cluster("stdin", |bench| async move {
        let bench: Arc<Bench> = bench;
        let options = KubernetesOptions::default().user(65_534).with_stdin();
        let script =
            "while read -r line; do echo \"heard $line\"; [ \"$line\" = end ] && exit 5; done; exit 9";
        let config = bench.script("a", script).options(&options).stop_grace("1s").build().unwrap();
        let worker = bench.run(&config).await;
        bench.until(&worker, |status| status.phase == WorkerPhase::Running).await;
        let mut session = bench.provider.attach(&worker).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"one\n").await.unwrap();
        read_until(&mut session, LogStream::Stdout, "heard one\n").await;
        // It goes on without us, and hears the next one.
        drop((stdin, session));
        let mut session = bench.provider.attach(&worker).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"two\nend\n").await.unwrap();
        read_until(&mut session, LogStream::Stdout, "heard two\nheard end\n").await;
        assert_eq!(limit(session.exit()).await.unwrap(), ExitStatus::Code(5));
    })
    .await;
}

#[tokio::test]
async fn k2_who_attaches_to_one_that_does_not_run_is_told_so() {
    on_cluster("unattached", |bench| async move {
        let nobody = WorkerRef::first("nobody".parse().unwrap());
        let error = bench.provider.attach(&nobody).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("attach to worker"), "{error}");
        let worker = bench.create(&bench.script("a", "exit 0").build().unwrap()).await;
        assert_eq!(bench.provider.attach(&worker).await.unwrap_err().kind(), ErrorKind::Conflict);
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.until(&worker, |status| status.phase == WorkerPhase::Exited).await;
        assert_eq!(bench.provider.attach(&worker).await.unwrap_err().kind(), ErrorKind::Conflict);
        // One that is deleted takes its end with it.
        let worker = running(&bench, "b", "sleep 1000").await;
        let session = bench.provider.attach(&worker).await.unwrap();
        limit(bench.provider.delete_worker(&worker, &DeleteOptions::default())).await.unwrap();
        assert_eq!(limit(session.exit()).await.unwrap_err().kind(), ErrorKind::NotFound);
    })
    .await;
}
