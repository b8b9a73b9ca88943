//! What goes wrong with a database, and what comes of it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod server;

use std::{future::Future, time::Duration};

use hodei_worker_core::{
    Error, ErrorKind, Retry,
    quantity::HumanDuration,
    store::{Batch, EventStore as _, Expected, LeaseStore as _, StateStore as _},
    testkit::eventually,
};
use hodei_worker_store::{PostgresSettings, PostgresStore};
use server::{
    Database, Host, address, limit,
    proxy::{Mode, Proxy},
    raw, url, url_by, worker,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A host that reaches the server through a proxy.
async fn behind(proxy: &Proxy, database: &Database, ttl: Duration) -> Host {
    let mut settings = database.settings_at(&url_by(proxy.port));
    settings.statement_timeout = HumanDuration::secs(1);
    Host::new(PostgresStore::connect(settings).await.unwrap(), ttl).await
}

/// Repeats until the database answers again.
async fn until_it_answers<T, Fut: Future<Output = Result<T, Error>>>(mut ask: impl FnMut() -> Fut) -> T {
    let asked = || {
        let answer = ask();
        async {
            let answer = answer.await;
            if let Err(error) = &answer {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            }
            answer
        }
    };
    eventually(server::LIMIT, asked).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_paused_holder_writes_nothing_after_its_workers_were_taken_over() {
    let database = Database::new();
    let proxy = Proxy::new(address()).await;
    let mut settings = database.settings_at(&url_by(proxy.port));
    settings.statement_timeout = HumanDuration::secs(60);
    let old = Host::new(PostgresStore::connect(settings).await.unwrap(), Duration::from_secs(1)).await;
    let new = database.host().await;
    old.say("a", 0, "before").await.unwrap();
    proxy.set(Mode::HoldRequests);
    let late = tokio::spawn({
        let old = old.clone();
        async move { old.say("a", 1, "late").await }
    });
    proxy.holds().await;
    // The lease runs out by the database's clock.
    let taken =
        eventually(server::LIMIT, || new.store.take_over(new.lease.id, old.lease.id, 10)).await.unwrap();
    assert_eq!((taken.len(), taken[0].version, taken[0].owner_epoch), (1, 1, 1));
    proxy.set(Mode::Pass);
    let error = limit(late).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Fenced, Retry::Never), "{error:?}");
    assert_eq!(old.store.renew(old.lease.id).await.unwrap_err().kind(), ErrorKind::Fenced);
    new.say("a", 1, "after").await.unwrap();
    assert_eq!(new.stream("a").await, ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_an_answer_that_was_lost_leaves_it_open_whether_it_was_written() {
    let database = Database::new();
    let proxy = Proxy::new(address()).await;
    let host = behind(&proxy, &database, HOUR).await;
    host.say("a", 0, "one").await.unwrap();
    proxy.set(Mode::LoseAnswers);
    let error = host.say("a", 1, "two").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::IfIdempotent), "{error:?}");
    proxy.set(Mode::Pass);
    let written = until_it_answers(|| async { host.store.read_stream(&worker("a"), 0, 10).await }).await;
    assert_eq!(written.next, 2, "the answer was lost after it was written");
    assert_eq!(host.say("a", 1, "two").await.unwrap_err().kind(), ErrorKind::Conflict);
    host.say("a", 2, "three").await.unwrap();
    assert_eq!(host.stream("a").await, ["one", "two", "three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_request_that_never_arrived_ends_in_time_and_the_next_works() {
    let database = Database::new();
    let proxy = Proxy::new(address()).await;
    let host = behind(&proxy, &database, HOUR).await;
    host.say("a", 0, "one").await.unwrap();
    proxy.set(Mode::HoldRequests);
    let error = host.say("a", 1, "two").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::IfIdempotent), "{error:?}");
    proxy.set(Mode::Pass);
    // What was held arrives now, or never.
    let version = until_it_answers(|| async { host.store.read_stream(&worker("a"), 0, 10).await }).await.next;
    assert!(version == 1 || version == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_cut_connection_is_made_anew_and_who_waits_is_told() {
    let database = Database::new();
    let proxy = Proxy::new(address()).await;
    let host = behind(&proxy, &database, HOUR).await;
    let appended = host.say("a", 0, "one").await.unwrap();
    assert_eq!(host.seen().await, ["one"]);
    let waiting = tokio::spawn({
        let store = host.store.clone();
        async move { store.changed(appended.last).await }
    });
    proxy.set(Mode::Cut);
    let error = limit(waiting).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    for error in [
        host.say("a", 1, "two").await.unwrap_err(),
        host.store.read(0, 10).await.unwrap_err(),
        host.store.renew(host.lease.id).await.unwrap_err(),
        host.store.get("x").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.is_retryable(), "{error:?}");
    }
    proxy.set(Mode::Pass);
    until_it_answers(|| async { host.store.renew(host.lease.id).await }).await;
    until_it_answers(|| async { host.say("a", 1, "two").await }).await;
    until_it_answers(|| async { host.store.changed(appended.last).await }).await;
    assert_eq!(host.seen().await, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_connection_that_broke_in_silence_costs_a_reader_nothing() {
    let database = Database::new();
    let host = database.host().await;
    host.say("a", 0, "one").await.unwrap();
    assert_eq!(host.seen().await, ["one"]);
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'hodei-worker' AND query LIKE '%' || $1 || '%' AND pid <> pg_backend_pid()";
    assert!(raw().await.query_one(ended, &[&database.schema]).await.unwrap().get::<_, i64>(0) > 0);
    assert_eq!(host.seen().await, ["one"]);
}

/// Has every event's insertion do this.
async fn trigger(database: &Database, body: &str) {
    let sql = format!(
        "CREATE SEQUENCE S.attempts;
        CREATE FUNCTION S.meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;
        CREATE TRIGGER meddle BEFORE INSERT ON S.events FOR EACH ROW EXECUTE FUNCTION S.meddle();"
    );
    raw().await.batch_execute(&database.sql(&sql)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_full_disk_is_told_and_nothing_was_written() {
    let database = Database::new();
    let host = database.host().await;
    trigger(&database, "RAISE 'no room' USING ERRCODE = '53100';").await;
    let batch = Batch::new().append(worker("a"), 0, ["x".into()]).put("k", Expected::Any, "x");
    let error = host.store.append(batch.fenced(host.fence())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Capacity, "{error:?}");
    assert!(error.is_retryable() && error.help().is_some());
    assert_eq!(host.store.get("k").await.unwrap(), None);
    raw().await.batch_execute(&database.sql("DROP TRIGGER meddle ON S.events")).await.unwrap();
    host.say("a", 0, "x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_transaction_that_another_was_in_the_way_of_is_repeated() {
    let database = Database::new();
    let host = database.host().await;
    trigger(
        &database,
        "IF nextval('S.attempts') < 4 THEN RAISE 'in the way' USING ERRCODE = '40P01'; END IF;",
    )
    .await;
    host.say("a", 0, "x").await.unwrap();
    assert_eq!(host.seen().await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_batch_that_the_database_cannot_hold_fails_alone() {
    let database = Database::new();
    let host = database.host().await;
    trigger(&database, "IF NEW.event = 'bad' THEN RAISE 'too much' USING ERRCODE = '54000'; END IF;").await;
    let mut writers = JoinSet::new();
    for n in 0..50 {
        let host = host.clone();
        writers.spawn(async move {
            let is_bad = n % 10 == 3;
            let said = host.say(&format!("w{n}"), 0, if is_bad { "bad" } else { "good" }).await;
            assert_eq!(said.as_ref().err().map(Error::kind), is_bad.then_some(ErrorKind::Config), "{said:?}");
        });
    }
    limit(writers.join_all()).await;
    assert_eq!(host.seen().await, ["good"; 45]);
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_record_that_was_changed_is_corrupt() {
    let database = Database::new();
    let host = database.host().await;
    let batch = Batch::new().append(worker("a"), 0, ["x".into()]).put("k", Expected::Any, "x");
    host.store.append(batch.save(worker("a"), 1, "fold").fenced(host.fence())).await.unwrap();
    let client = raw().await;
    for change in [
        "UPDATE S.events SET event = 'y'; UPDATE S.state SET value = 'y'; UPDATE S.snapshots SET state = 'y'",
        "UPDATE S.events SET event = 'x', position = position + 1; UPDATE S.state SET value = 'x', version = 2;
            UPDATE S.snapshots SET state = 'fold', position = position + 1",
    ] {
        client.batch_execute(&database.sql(change)).await.unwrap();
        for error in [
            host.store.read(0, 10).await.unwrap_err(),
            host.store.read_stream(&worker("a"), 0, 10).await.unwrap_err(),
            host.store.get("k").await.unwrap_err(),
            host.store.list("", None, 10).await.unwrap_err(),
            host.store.snapshots(None, 10).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_store_of_a_newer_version_is_refused() {
    let database = Database::new();
    drop(database.open().await.unwrap());
    let newer = database.sql("INSERT INTO S.migrations (version, by) VALUES (99, 'the future')");
    raw().await.batch_execute(&newer).await.unwrap();
    let error = database.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("99") && text.contains("up to version 1") && text.contains("update"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_many_hosts_make_the_schema_at_once() {
    let database = Database::new();
    let opened = futures::future::join_all((0..8).map(|_| database.open())).await;
    let logs: Vec<_> = opened.into_iter().map(|store| store.unwrap().info().log.clone()).collect();
    assert!(logs.windows(2).all(|pair| pair[0] == pair[1]), "{logs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_database_restored_on_another_server_is_read() {
    let database = Database::new();
    let host = database.host().await;
    host.say("a", 0, "one").await.unwrap();
    // The old server had seen many more transactions.
    let moved = database.sql("UPDATE S.events SET written_by = '9000000000'");
    raw().await.batch_execute(&moved).await.unwrap();
    assert_eq!(host.seen().await, [""; 0]);
    let again = Host { store: database.open().await.unwrap(), lease: host.lease.clone() };
    assert_eq!(again.seen().await, ["one"]);
    again.say("a", 1, "two").await.unwrap();
    assert_eq!(host.seen().await, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_each_way_of_not_getting_in_has_its_own_error() {
    let database = Database::new();
    let role = format!("{}_user", database.schema);
    let make = format!(
        "DO $$ BEGIN CREATE ROLE hodei_test_login NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        CREATE ROLE {role} LOGIN PASSWORD 'right-hunter2' IN ROLE hodei_test_login"
    );
    let client = raw().await;
    client.batch_execute(&make).await.unwrap();
    let (address, port) = (address(), free_port());
    let at = |user: &str, address: &str, name: &str| {
        PostgresSettings::at(format!("postgres://{user}@{address}/{name}")).in_schema(&database.schema)
    };
    let attempts = [
        (at(&format!("{role}:wrong-hunter2"), &address, "postgres"), ErrorKind::Unauthenticated),
        (at(&role, &address, "postgres"), ErrorKind::Unauthenticated),
        // It may log in, and not make a schema.
        (at(&format!("{role}:right-hunter2"), &address, "postgres"), ErrorKind::PermissionDenied),
        (at("postgres:planted-hunter2", &address, "no_such_database"), ErrorKind::Config),
        (at("postgres:planted-hunter2", &format!("127.0.0.1:{port}"), "postgres"), ErrorKind::Unavailable),
        (at("postgres:planted-hunter2", "no-such-host.invalid", "postgres"), ErrorKind::Unavailable),
    ];
    let mut failures = Vec::new();
    for (settings, expected) in &attempts {
        let result = PostgresStore::connect(settings.clone()).await;
        let kind = result.as_ref().err().map(Error::kind);
        let told = format!("{settings:?} {result:?}");
        let text = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
        if kind != Some(*expected) || told.contains("hunter2") || !text.contains("; ") {
            failures.push(told);
        }
    }
    client.batch_execute(&format!("DROP ROLE {role}")).await.unwrap();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_password_is_in_nothing_that_is_printed() {
    let database = Database::new();
    let with = url().replacen("postgres@", "postgres:planted-hunter2@", 1);
    let settings = database.settings_at(&with);
    let store = PostgresStore::connect(settings.clone()).await.unwrap();
    let printed = format!("{settings:?} {store:?} {:?} {}", store.info(), store.info().place);
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(store.info().place.contains(&database.schema) && store.info().shared && store.info().durable);
}

/// Something that listens, and answers whatever comes with these bytes.
async fn answering(answer: &'static [u8]) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 8];
            let _ = stream.read_exact(&mut asked).await;
            let _ = stream.write_all(answer).await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_who_cannot_be_talked_to_is_told_apart() {
    let database = Database::new();
    let no_tls = answering(b"N").await;
    let no_database = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    for (port, mode, expected) in
        [(no_tls, "require", ErrorKind::Unauthenticated), (no_database, "disable", ErrorKind::Unavailable)]
    {
        let url = format!("postgres://me:planted-hunter2@127.0.0.1:{port}/x?sslmode={mode}");
        let error = PostgresStore::connect(database.settings_at(&url)).await.unwrap_err();
        assert_eq!(error.kind(), expected, "{mode}: {error:?}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_tls_verifies_as_its_mode_says() {
    let database = Database::new();
    let authority = std::env::var("HODEI_TEST_POSTGRES_CA").expect("HODEI_TEST_POSTGRES_CA is not set");
    let address = address();
    let port = &address[address.find(':').unwrap()..];
    let at = |host: &str, options: &str| {
        let url = format!("postgres://postgres@{host}{port}/postgres?{options}");
        PostgresStore::connect(database.settings_at(&url))
    };
    let folder = std::path::Path::new(&authority).parent().unwrap();
    let stranger = folder.join("cert.pem").display().to_string();
    for good in ["sslmode=require", "sslmode=prefer", &format!("sslmode=verify-full&sslrootcert={authority}")]
    {
        let store = at("127.0.0.1", good).await.unwrap();
        let used = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE ssl AND query LIKE '%' || $1 || '%' AND pid <> pg_backend_pid()";
        let used: i64 = raw().await.query_one(used, &[&database.schema]).await.unwrap().get(0);
        assert!(used > 0, "no TLS with {good}");
        drop(store);
    }
    for bad in ["verify-full", "verify-ca", "require"] {
        let error = at("127.0.0.1", &format!("sslmode={bad}&sslrootcert={stranger}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{bad}: {error:?}");
    }
    // A name that the certificate does not have.
    let elsewhere = format!("hostaddr=127.0.0.1&sslrootcert={authority}");
    at("other.example", &format!("sslmode=verify-ca&{elsewhere}")).await.unwrap();
    let error = at("other.example", &format!("sslmode=verify-full&{elsewhere}")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
}
