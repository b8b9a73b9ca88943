//! The server stops, or is killed, while it is written to: nothing that was acknowledged is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod server;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hodei_worker_core::{
    Error, ErrorKind,
    store::{Batch, EventStore as _, Expected, LeaseStore as _, StateStore as _},
    testkit::eventually,
};
use server::{Database, Host, control, limit, raw, worker};
use tokio::{sync::watch, task::JoinSet};

const WRITERS: usize = 8;
const ROUNDS: usize = 3;

fn is_an_outage(error: &Error) {
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Overloaded), "{error:?}");
    assert!(error.is_retryable(), "{error:?}");
}

/// The version that the stream has, as soon as the server tells.
async fn version(host: &Host, id: &str) -> u64 {
    let id = worker(id);
    let ask = || async { host.store.read_stream(&id, 0, 1_000_000).await.inspect_err(is_an_outage) };
    eventually(server::LIMIT, ask).await.unwrap().next
}

/// Writes until it is stopped, and gives the last version that was acknowledged.
async fn write(host: Host, id: String, stop: Arc<AtomicBool>, count: Arc<watch::Sender<u64>>) -> u64 {
    let (mut next, mut acknowledged) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        match host.say(&id, next, &format!("{id} {}", next + 1)).await {
            Ok(_) => {
                next += 1;
                acknowledged = next;
                count.send_modify(|count| *count += 1);
            }
            Err(error) => {
                is_an_outage(&error);
                let found = version(&host, &id).await;
                assert!(
                    found >= acknowledged,
                    "{id}: {acknowledged} was acknowledged, and there are {found}"
                );
                assert!(found <= next + 1, "{id}: {found} after {next}");
                next = found;
            }
        }
    }
    acknowledged
}

/// Reads everything that comes, until as much was seen as there will be.
async fn follow(host: Host, mut total: watch::Receiver<Option<u64>>) -> u64 {
    let (mut after, mut seen) = (0, 0);
    while total.borrow().is_none_or(|total| seen < total) {
        let read = || async {
            host.store.changed(after).await.inspect_err(is_an_outage)?;
            host.store.read(after, 1000).await.inspect_err(is_an_outage)
        };
        tokio::select! {
            page = eventually(server::LIMIT, read) => {
                let page = page.unwrap();
                assert!(page.events.iter().all(|event| event.position > after));
                seen += page.events.len() as u64;
                after = page.next;
            }
            _ = total.changed() => {}
        }
    }
    seen
}

async fn written(count: &watch::Sender<u64>, more: u64) {
    let goal = *count.borrow() + more;
    limit(count.subscribe().wait_for(|count| *count >= goal)).await.unwrap();
}

async fn nothing_is_lost(verb: &str) {
    let database = Database::new();
    let host = database.host().await;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(watch::Sender::new(0)));
    let total = watch::Sender::new(None);
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        writers.spawn(write(host.clone(), format!("w{n}"), Arc::clone(&stop), Arc::clone(&count)));
    }
    let reader = tokio::spawn(follow(host.clone(), total.subscribe()));
    for _ in 0..ROUNDS {
        written(&count, 200).await;
        control(verb).await;
        control("start").await;
    }
    written(&count, 200).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged: u64 = limit(writers.join_all()).await.into_iter().sum();
    let mut there = 0;
    for n in 0..WRITERS {
        let id = format!("w{n}");
        let texts = host.stream(&id).await;
        let expected: Vec<_> = (1..=texts.len()).map(|version| format!("{id} {version}")).collect();
        assert_eq!(texts, expected);
        there += texts.len() as u64;
    }
    assert!(there >= acknowledged, "{acknowledged} were acknowledged, {there} are there");
    total.send_replace(Some(there));
    assert_eq!(limit(reader).await.unwrap(), there, "the reader saw other events than there are");
    host.store.renew(host.lease.id).await.unwrap();
}

/// The tests share one server, and each of them stops it.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn l6_nothing_acknowledged_is_lost_when_the_server_restarts_or_is_killed() {
    let _one = ONE_AT_A_TIME.lock().await;
    nothing_is_lost("stop").await;
    nothing_is_lost("kill").await;
}

/// Where the server keeps a table.
async fn file_of(database: &Database, table: &str) -> PathBuf {
    let ask = "SELECT current_setting('data_directory') || '/' || pg_relation_filepath($1::text::regclass)";
    let file: String =
        raw().await.query_one(ask, &[&format!("{}.{table}", database.schema)]).await.unwrap().get(0);
    file.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_damaged_page_is_corrupt_and_the_rest_is_read() {
    let _one = ONE_AT_A_TIME.lock().await;
    let database = Database::new();
    let host = database.host().await;
    let batch = Batch::new().append(worker("a"), 0, ["planted".into()]).put("k", Expected::Any, "x");
    host.store.append(batch.fenced(host.fence())).await.unwrap();
    let file = file_of(&database, "events").await;
    control("stop").await;
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(7).position(|window| window == b"planted").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    control("start").await;
    let read = || async { host.store.get("k").await.inspect_err(is_an_outage) };
    eventually(server::LIMIT, read).await.unwrap();
    for read in [host.store.read(0, 10).await, host.store.read_stream(&worker("a"), 0, 10).await] {
        let error = read.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert_eq!(error.context_value("code"), Some("XX001"), "{error:?}");
        assert!(error.help().is_some());
    }
}
