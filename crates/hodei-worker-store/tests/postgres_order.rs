//! Positions become visible in order, whatever order transactions commit in.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod server;

use std::{future::Future, pin::pin, time::Duration};

use futures::FutureExt as _;
use hodei_worker_core::{
    quantity::HumanDuration,
    store::{Batch, EventStore as _, LeaseStore as _, StoredEvent},
};
use hodei_worker_store::PostgresStore;
use server::{Database, Host, limit, raw, worker};
use tokio::task::JoinSet;
use tokio_postgres::Client;

/// A transaction that has written an event of that worker, as another host would, and has not committed yet.
async fn hold(database: &Database, host: &Host, id: &str) -> Client {
    let client = raw().await;
    client.batch_execute("BEGIN").await.unwrap();
    write(&client, database, host, id).await;
    client
}

async fn write(client: &Client, database: &Database, host: &Host, id: &str) {
    let sql = database.sql(&format!(
        "SELECT * FROM S.append(ARRAY[{lease}], '{{1}}', '{{{id}}}', '{{0}}', '{{1}}', '{{1}}',
            '{{1}}', '{{{id}}}', '{{1}}', ARRAY['{id}'::bytea], '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')",
        lease = host.lease.id
    ));
    let rows = client.query(&sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 1, "it was refused");
}

/// Whether it still waits, after it has looked once more.
fn waits(future: &mut (impl Future + Unpin)) -> bool {
    future.now_or_never().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_commit_out_of_order_is_seen_in_order() {
    let database = Database::new();
    let host = database.host().await;
    let first = hold(&database, &host, "first").await;
    let appended = host.say("second", 0, "second").await.unwrap();
    assert_eq!(host.seen().await, [""; 0], "the second is seen while the first may still come");
    assert_eq!(host.store.last_position().await.unwrap(), 0);
    let mut change = pin!(host.store.changed(0));
    assert!(waits(&mut change));
    first.batch_execute("COMMIT").await.unwrap();
    limit(change).await.unwrap();
    assert_eq!(host.seen().await, ["first", "second"]);
    assert_eq!(host.store.last_position().await.unwrap(), appended.last);
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_position_that_was_rolled_back_holds_nothing_up() {
    let database = Database::new();
    let host = database.host().await;
    let first = hold(&database, &host, "first").await;
    host.say("second", 0, "second").await.unwrap();
    assert_eq!(host.seen().await, [""; 0]);
    first.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(host.seen().await, ["second"]);
    limit(host.store.changed(0)).await.unwrap();
    host.say("first", 0, "first").await.unwrap();
    assert_eq!(host.seen().await, ["second", "first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_worker_is_read_at_once_whatever_the_log_waits_for() {
    let database = Database::new();
    let host = database.host().await;
    let _first = hold(&database, &host, "first").await;
    host.say("second", 0, "second").await.unwrap();
    assert_eq!(host.stream("second").await, ["second"]);
    assert_eq!(host.stream("first").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_transactions_of_others_hold_nothing_up_and_hide_nothing() {
    let database = Database::new();
    let host = database.host().await;
    let foreign = || async {
        let client = raw().await;
        client.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
        client
    };
    let before = foreign().await;
    host.say("a", 0, "a").await.unwrap();
    assert_eq!(host.seen().await, ["a"], "somebody else's transaction holds the log up");
    // With it open, a snapshot's upper bound lies below the number of the writer that is held here.
    let first = hold(&database, &host, "first").await;
    let between = foreign().await;
    host.say("second", 0, "second").await.unwrap();
    assert_eq!(host.seen().await, ["a"]);
    before.batch_execute("COMMIT").await.unwrap();
    assert_eq!(host.seen().await, ["a"]);
    between.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(host.seen().await, ["a"]);
    first.batch_execute("COMMIT").await.unwrap();
    assert_eq!(host.seen().await, ["a", "first", "second"]);
}

/// Reads from the beginning until it has seen so many.
async fn follow(store: PostgresStore, total: usize) -> Vec<StoredEvent> {
    let (mut events, mut after) = (Vec::new(), 0);
    while events.len() < total {
        store.changed(after).await.unwrap();
        let page = store.read(after, 7).await.unwrap();
        assert!(!page.compacted);
        after = page.next;
        events.extend(page.events);
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_readers_miss_nothing_of_many_writers_that_commit_at_random() {
    const WRITERS: usize = 8;
    const EACH: usize = 60;
    let database = Database::new();
    let host = database.host().await;
    let mut writers = JoinSet::new();
    // Transactions that last, of which every third comes to nothing; half of them name the same worker again.
    for n in 0..WRITERS {
        let (host, schema) = (host.clone(), Database { schema: database.schema.clone() });
        writers.spawn(async move {
            let schema = std::mem::ManuallyDrop::new(schema);
            let client = raw().await;
            for event in 0..EACH {
                client.batch_execute("BEGIN").await.unwrap();
                write(&client, &schema, &host, &format!("raw-{n}-{event}")).await;
                let pause = fastrand::u32(0..6);
                let end = if event % 3 == 2 { "ROLLBACK" } else { "COMMIT" };
                client.batch_execute(&format!("SELECT pg_sleep(0.00{pause}); {end}")).await.unwrap();
            }
            EACH - EACH / 3
        });
    }
    // And two hosts as they are.
    for n in 0..2 {
        let other = Host { store: database.open().await.unwrap(), lease: host.lease.clone() };
        writers.spawn(async move {
            for event in 0..EACH {
                other.say(&format!("host-{n}"), event as u64, "x").await.unwrap();
            }
            EACH
        });
    }
    let total = WRITERS * (EACH - EACH / 3) + 2 * EACH;
    let readers: Vec<_> = [
        tokio::spawn(follow(host.store.clone(), total)),
        tokio::spawn(follow(database.open().await.unwrap(), total)),
    ]
    .into();
    let written: usize = limit(writers.join_all()).await.into_iter().sum();
    assert_eq!(written, total);
    let rows = raw()
        .await
        .query(&database.sql("SELECT position FROM S.events ORDER BY position"), &[])
        .await
        .unwrap();
    let stored: Vec<u64> = rows.iter().map(|row| row.get::<_, i64>(0) as u64).collect();
    for reader in readers {
        let seen: Vec<_> = limit(reader).await.unwrap().iter().map(|event| event.position).collect();
        assert_eq!(seen, stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_notification_wakes_other_hosts() {
    let database = Database::new();
    let host = database.host().await;
    let mut settings = database.settings();
    settings.poll = HumanDuration::secs(3600);
    let other = PostgresStore::connect(settings).await.unwrap();
    for version in 0..3 {
        let last = host.store.last_position().await.unwrap();
        let waiting = tokio::spawn({
            let other = other.clone();
            async move { other.changed(last).await }
        });
        host.say("a", version, "x").await.unwrap();
        limit(waiting).await.unwrap().unwrap();
        assert!(other.last_position().await.unwrap() > last);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_without_a_notification_it_is_asked_for() {
    let database = Database::new();
    let mut settings = database.settings();
    settings.poll = HumanDuration(Duration::from_millis(100));
    let host = Host::new(PostgresStore::connect(settings).await.unwrap(), Duration::from_secs(3600)).await;
    let mut change = pin!(host.store.changed(0));
    assert!(waits(&mut change));
    // As from a host whose notification was lost.
    write(&raw().await, &database, &host, "a").await;
    limit(change).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_write_on_its_way_is_waited_for_by_who_takes_over() {
    let database = Database::new();
    let old = Host::new(database.open().await.unwrap(), Duration::from_secs(3600)).await;
    let new = database.host().await;
    old.say("a", 0, "a").await.unwrap();
    let writing = hold(&database, &old, "b").await;
    // It does not have to wait for an hour to end.
    raw()
        .await
        .batch_execute(
            &database
                .sql(&format!("UPDATE S.leases SET ends_at = clock_timestamp() WHERE id = {}", old.lease.id)),
        )
        .await
        .unwrap();
    let mut taking = pin!(new.store.take_over(new.lease.id, old.lease.id, 10));
    assert!(waits(&mut taking));
    let waiting = async {
        let ask = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%take_over%'";
        let client = raw().await;
        while client.query_one(ask, &[&database.schema]).await.unwrap().get::<_, i64>(0) == 0 {}
    };
    let mut waiting = pin!(waiting);
    limit(futures::future::select(&mut taking, &mut waiting)).await;
    assert!(waits(&mut taking), "it did not wait");
    writing.batch_execute("COMMIT").await.unwrap();
    let taken = limit(taking).await.unwrap();
    let taken: Vec<_> = taken.iter().map(|taken| (taken.worker.as_str(), taken.version)).collect();
    assert_eq!(taken, [("a", 1), ("b", 1)]);
    let batch = Batch::new().append(worker("b"), 1, ["late".into()]).fenced(old.fence());
    assert!(old.store.append(batch).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_positions_are_drawn_in_the_order_of_their_transactions() {
    const DRAWS: usize = 500;
    let database = Database::new();
    let host = database.host().await;
    let mut drawing = JoinSet::new();
    for _ in 0..8 {
        let sql = database.sql("SELECT S.draw(2), pg_current_xact_id()::text::bigint");
        drawing.spawn(async move {
            let client = raw().await;
            let draw = client.prepare(&sql).await.unwrap();
            let mut drawn = Vec::new();
            for _ in 0..DRAWS {
                let row = client.query_one(&draw, &[]).await.unwrap();
                drawn.push((row.get::<_, i64>(0), row.get::<_, i64>(1)));
            }
            drawn
        });
    }
    let mut drawn = limit(drawing.join_all()).await.concat();
    drawn.sort_unstable();
    for pair in drawn.windows(2) {
        assert!(pair[0].0 + 2 == pair[1].0, "what was drawn together is not together: {pair:?}");
        assert!(pair[0].1 < pair[1].1, "a later transaction drew first: {pair:?}");
    }
    host.say("a", 0, "a").await.unwrap();
    assert_eq!(host.seen().await, ["a"]);
}
