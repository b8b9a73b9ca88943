use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::oneshot;

use super::*;
use crate::{
    clock::Timestamp,
    error::ErrorKind,
    status::{Gone, WorkerPhase},
};

fn status(id: &str, generation: u64, phase: WorkerPhase, second: i64) -> Arc<WorkerStatus> {
    let worker = WorkerRef::new(id.parse().unwrap(), generation);
    let mut status = WorkerStatus::new(worker, phase, Timestamp::from_second(second).unwrap());
    status.native_id = format!("{id}-{generation}");
    Arc::new(status)
}

fn gone(id: &str, generation: u64, native_id: &str) -> Gone {
    Gone::new(WorkerRef::new(id.parse().unwrap(), generation), native_id, Timestamp::UNIX_EPOCH)
}

/// A hub whose feed the test holds.
async fn fed() -> (WatchHub, BoxStream<'static, Result<WorkerObservation>>, WatchFeed) {
    let hub = WatchHub::default();
    let (send, receive) = oneshot::channel();
    let stream = hub.subscribe(WorkerFilter::all(), |feed| async move {
        assert!(send.send(feed).is_ok());
        std::future::pending().await
    });
    let feed = receive.await.unwrap();
    (hub, stream, feed)
}

fn read(stream: &mut BoxStream<'static, Result<WorkerObservation>>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(Some(item)) = stream.next().now_or_never() {
        all.push(match item {
            Ok(WorkerObservation::Resync) => "resync".to_owned(),
            Ok(WorkerObservation::Synced) => "synced".to_owned(),
            Ok(WorkerObservation::Listed(status)) => format!("listed {} {}", status.worker, status.phase),
            Ok(WorkerObservation::Applied(status)) => format!("applied {} {}", status.worker, status.phase),
            Ok(WorkerObservation::Gone(gone)) => format!("gone {}", gone.worker),
            Ok(WorkerObservation::Unsynced(why)) => format!("unsynced: {}", why.message),
            Err(error) => format!("error {}", error.kind()),
        });
    }
    all
}

use WorkerPhase::{Created, Exited, Running};

#[tokio::test]
async fn p1_a_slow_watcher_gets_the_newest_of_each_worker() {
    let (_hub, mut stream, feed) = fed().await;
    feed.resync([status("a", 1, Created, 1)]);
    assert_eq!(read(&mut stream), ["resync", "listed a#1 created", "synced"]);
    for second in 2..1000 {
        feed.apply(status("a", 1, if second % 2 == 0 { Running } else { Exited }, second));
        feed.apply(status("b", 1, Running, second));
    }
    assert_eq!(read(&mut stream), ["applied a#1 exited", "applied b#1 running"]);
}

#[tokio::test]
async fn p1_what_came_and_went_unread_leaves_nothing_behind() {
    let (hub, mut stream, feed) = fed().await;
    feed.resync([status("old", 1, Running, 1), status("unlisted", 1, Running, 1)]);
    assert_eq!(stream.next().await.unwrap().unwrap(), WorkerObservation::Resync);
    assert_eq!(stream.next().await.unwrap().unwrap().worker().unwrap().id.as_str(), "old");
    feed.gone(gone("unlisted", 1, "unlisted-1"));
    for n in 0..1000 {
        feed.apply(status("job", n, Running, 1));
        feed.gone(gone("job", n, ""));
    }
    feed.gone(gone("old", 1, "old-1"));
    let unread = hub.0.state().subscribers[0].unread();
    assert_eq!(unread, 1, "only what was told of");
    feed.apply(status("new", 1, Running, 1));
    assert_eq!(read(&mut stream), ["synced", "gone old#1", "applied new#1 running"]);
    feed.gone(gone("new", 1, "new-1"));
    assert_eq!(read(&mut stream), ["gone new#1"]);
}

#[tokio::test]
async fn p1_a_gap_is_told_in_brackets_and_starts_them_again() {
    let (hub, mut stream, feed) = fed().await;
    feed.resync([status("a", 1, Created, 1), status("b", 1, Created, 1)]);
    assert_eq!(stream.next().await.unwrap().unwrap(), WorkerObservation::Resync);
    feed.gone(gone("b", 1, "b-1"));
    feed.apply(status("a", 1, Running, 2));
    assert_eq!(read(&mut stream), ["listed a#1 running", "synced"]);
    feed.apply(status("a", 1, Exited, 3));
    feed.resync([status("c", 1, Running, 4)]);
    assert_eq!(read(&mut stream), ["resync", "listed c#1 running", "synced"]);
    let mut late = hub.subscribe(WorkerFilter::all(), |_| std::future::pending());
    assert_eq!(read(&mut late), ["resync", "listed c#1 running", "synced"]);
}

#[tokio::test]
async fn p1_what_was_known_before_a_gap_is_not_current() {
    let (hub, mut stream, feed) = fed().await;
    let worker = WorkerRef::new("a".parse().unwrap(), 1);
    feed.resync([status("a", 1, Created, 1)]);
    assert!(hub.current(&worker).is_some());
    feed.lost(&Error::new(ErrorKind::Unavailable, "it is gone"));
    assert!(hub.current(&worker).is_none());
    feed.resync([status("a", 1, Running, 2)]);
    assert_eq!(hub.current(&worker).unwrap().phase, Running);
    feed.lost(&Error::new(ErrorKind::Unavailable, "it is gone"));
    feed.reconcile([status("a", 1, Exited, 3)], Timestamp::UNIX_EPOCH);
    assert_eq!(hub.current(&worker).unwrap().phase, Exited);
    read(&mut stream);
}

#[tokio::test]
async fn p1_a_late_word_on_an_older_one_buries_nothing() {
    let (_hub, mut stream, feed) = fed().await;
    let earlier = feed.reading();
    feed.resync([status("a", 2, Running, 5)]);
    feed.gone(gone("a", 1, "a-1"));
    feed.gone(gone("a", 2, "an object that was replaced"));
    feed.apply_as_of(earlier, status("a", 2, Created, 6));
    assert_eq!(read(&mut stream), ["resync", "listed a#2 running", "synced"]);
    feed.gone(gone("a", 2, "a-2"));
    assert_eq!(read(&mut stream), ["gone a#2"]);
}

#[tokio::test]
async fn p1_a_clock_that_steps_back_drops_nothing() {
    let (_hub, mut stream, feed) = fed().await;
    feed.resync([status("a", 1, Created, 1_000)]);
    assert_eq!(read(&mut stream).len(), 3);
    feed.apply(status("a", 1, Running, 10));
    assert_eq!(read(&mut stream), ["applied a#1 running"]);
    feed.reconcile([status("a", 1, Exited, 5)], Timestamp::UNIX_EPOCH);
    assert_eq!(read(&mut stream), ["applied a#1 exited"]);
}

#[tokio::test]
async fn p1_of_reads_that_cross_the_one_that_began_later_counts() {
    let (_hub, mut stream, feed) = fed().await;
    feed.resync([status("a", 1, Running, 1)]);
    assert_eq!(read(&mut stream).len(), 3);
    let (first, second) = (feed.reading(), feed.reading());
    // Nothing new, and yet the newest that is known.
    feed.apply_as_of(&second, status("a", 1, Running, 2));
    feed.apply_as_of(&first, status("a", 1, Created, 3));
    assert!(read(&mut stream).is_empty());
    feed.apply_as_of(&second, status("a", 1, Exited, 1));
    assert_eq!(read(&mut stream), ["applied a#1 exited"]);
}

#[tokio::test]
async fn p7_a_list_per_interval_tells_differences_only() {
    let (_hub, mut stream, feed) = fed().await;
    let now = Timestamp::UNIX_EPOCH;
    feed.reconcile([status("a", 1, Running, 1), status("b", 1, Running, 1)], now);
    assert_eq!(read(&mut stream).len(), 4);
    feed.reconcile([status("a", 1, Running, 2), status("c", 1, Created, 2)], now);
    assert_eq!(read(&mut stream), ["gone b#1", "applied c#1 created"]);
}

#[tokio::test]
async fn p1_the_source_is_read_while_somebody_watches_and_its_error_ends_all() {
    let hub = WatchHub::default();
    let (send, receive) = oneshot::channel::<()>();
    let first = hub.subscribe(WorkerFilter::all(), |feed| async move {
        feed.resync([]);
        let _send = send;
        std::future::pending().await
    });
    drop(first);
    assert!(receive.await.is_err(), "the driver was not ended");
    assert_eq!(hub.watches(), 0);
    let mut second =
        hub.subscribe(WorkerFilter::all(), |_| async { Error::new(ErrorKind::Unavailable, "gone") });
    assert_eq!(second.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(second.next().await.is_none());
}

#[tokio::test]
async fn p1_a_driver_that_panics_ends_all_watches_and_the_next_begins_anew() {
    let hub = WatchHub::default();
    let mut first = hub.subscribe(WorkerFilter::all(), |_| async { panic!("a bug of the provider") });
    let mut second = hub.subscribe(WorkerFilter::all(), |_| async { unreachable!("one is there") });
    for watch in [&mut first, &mut second] {
        assert_eq!(watch.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unexpected);
        assert!(watch.next().await.is_none());
    }
    drop((first, second));
    let mut third = hub.subscribe(WorkerFilter::all(), |feed| async move {
        feed.resync([]);
        std::future::pending().await
    });
    assert_eq!(third.next().await.unwrap().unwrap(), WorkerObservation::Resync);
}

#[test]
fn p1_watches_end_with_the_runtime_of_their_driver() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let hub = WatchHub::default();
    let ended = runtime();
    let mut watch = ended.block_on(async { hub.subscribe(WorkerFilter::all(), |_| std::future::pending()) });
    drop(ended);
    runtime().block_on(async {
        let error = watch.next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("its runtime was shut down"), "{error}");
        let mut anew =
            hub.subscribe(WorkerFilter::all(), |_| async { Error::new(ErrorKind::Unavailable, "gone") });
        assert_eq!(anew.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    });
}

#[tokio::test]
async fn p1_a_driver_is_made_outside_the_lock() {
    let hub = WatchHub::default();
    let other = hub.clone();
    let watch = hub.subscribe(WorkerFilter::all(), move |_| {
        assert_eq!(other.watches(), 1);
        std::future::pending()
    });
    drop(watch);
    let made = std::panic::AssertUnwindSafe(|| {
        let made = |_| -> std::future::Pending<Error> { panic!("a bug of the provider") };
        drop(hub.subscribe(WorkerFilter::all(), made));
    });
    assert!(std::panic::catch_unwind(made).is_err());
    assert_eq!(hub.watches(), 0);
    let mut anew =
        hub.subscribe(WorkerFilter::all(), |_| async { Error::new(ErrorKind::Unavailable, "gone") });
    assert_eq!(anew.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn p1_a_late_read_brings_nothing_back_that_was_removed() {
    let (hub, mut stream, feed) = fed().await;
    feed.resync([status("known", 1, Running, 1)]);
    assert_eq!(read(&mut stream).len(), 3);
    let late = feed.reading();
    feed.gone(gone("known", 1, "known-1"));
    feed.gone(gone("unknown", 1, "unknown-1"));
    feed.gone(gone("nameless", 1, ""));
    for id in ["known", "unknown", "nameless"] {
        feed.apply_as_of(&late, status(id, 1, Running, 2));
    }
    assert_eq!(read(&mut stream), ["gone known#1"]);
    assert!(feed.known().is_empty());
    // Another object of that name, and one that a later read shows, are there.
    let mut other = status("known", 1, Created, 3);
    Arc::make_mut(&mut other).native_id = "another object".to_owned();
    feed.apply_as_of(late, other);
    feed.apply(status("unknown", 1, Running, 4));
    assert_eq!(read(&mut stream), ["applied known#1 created", "applied unknown#1 running"]);
    feed.gone(gone("unknown", 1, ""));
    assert_eq!(hub.0.state().picture.remembered(), 0, "no read goes on that could bring one back");
}

#[tokio::test]
async fn p1_a_read_from_before_a_listing_adds_nothing_that_the_listing_lacks() {
    let (_hub, mut stream, feed) = fed().await;
    feed.resync([]);
    let late = feed.reading();
    feed.resync([]);
    feed.apply_as_of(late, status("a", 1, Running, 1));
    assert_eq!(read(&mut stream), ["resync", "synced"]);
}

#[tokio::test]
async fn p1_a_listing_undoes_nothing_that_was_read_after_it_began() {
    let (_hub, mut stream, feed) = fed().await;
    feed.resync([status("a", 1, Running, 1), status("b", 1, Running, 1)]);
    assert_eq!(read(&mut stream).len(), 4);
    let listing = feed.reading();
    let old = [status("a", 1, Running, 2), status("b", 1, Running, 2)];
    feed.apply(status("a", 1, Exited, 3));
    feed.gone(gone("b", 1, "b-1"));
    feed.apply(status("new", 1, Created, 3));
    assert_eq!(read(&mut stream), ["applied a#1 exited", "gone b#1", "applied new#1 created"]);
    feed.resync_as_of(&listing, old.clone());
    assert_eq!(read(&mut stream), ["resync", "listed a#1 exited", "listed new#1 created", "synced"]);
    feed.reconcile_as_of(&listing, old, Timestamp::UNIX_EPOCH);
    assert!(read(&mut stream).is_empty(), "a poll neither");
}

#[tokio::test]
async fn p1_a_lost_source_is_told_until_the_next_picture() {
    let (hub, mut stream, feed) = fed().await;
    let why = Error::new(ErrorKind::Unavailable, "the engine is down");
    feed.lost(&why);
    assert!(read(&mut stream).is_empty(), "there is no picture yet that could be old");
    feed.resync([status("a", 1, Created, 1)]);
    feed.apply(status("a", 1, Running, 1));
    feed.lost(&why);
    feed.lost(&why);
    let told = ["resync", "listed a#1 running", "synced", "unsynced: the engine is down"];
    assert_eq!(read(&mut stream), told);
    assert_eq!(hub.current(&WorkerRef::first("a".parse().unwrap())), None);
    let mut late = hub.subscribe(WorkerFilter::all(), |_| std::future::pending());
    feed.apply(status("a", 1, Exited, 2));
    assert!(read(&mut stream).is_empty() && read(&mut late).is_empty());
    feed.reconcile([status("a", 1, Exited, 2)], Timestamp::UNIX_EPOCH);
    for watch in [&mut stream, &mut late] {
        assert_eq!(read(watch), ["resync", "listed a#1 exited", "synced"]);
    }
    // Who sleeps through it need not hear of it.
    feed.lost(&why);
    feed.resync([]);
    assert_eq!(read(&mut stream), ["resync", "synced"]);
}

#[tokio::test]
async fn p1_what_a_provider_reads_itself_is_ordered_with_its_news() {
    let (hub, mut stream, feed) = fed().await;
    feed.resync([status("a", 1, Created, 1)]);
    let listed = feed.known().remove(0);
    assert_eq!(read(&mut stream).len(), 3);
    // Nobody is left with what a read has found and the news takes back.
    let read_meanwhile = hub.reading();
    let found = hub.saw(&read_meanwhile, status("a", 1, Running, 2));
    assert_eq!(read(&mut stream), ["applied a#1 running"]);
    feed.apply(status("a", 1, Created, 3));
    assert_eq!(read(&mut stream), ["applied a#1 created"]);
    let last = feed.known().remove(0);
    assert_eq!(found.is_newer_than(&listed), Some(true));
    assert_eq!(listed.is_newer_than(&found), Some(false));
    assert_eq!(last.is_newer_than(&found), Some(true));
    // Reads that overlap.
    let (first, second) = (hub.reading(), hub.reading());
    let second = hub.saw(&second, status("a", 1, Running, 4));
    let first = hub.saw(&first, status("a", 1, Created, 4));
    assert_eq!((first.is_newer_than(&second), second.is_newer_than(&first)), (None, None));
    assert_eq!(read(&mut stream), ["applied a#1 running"]);
    // Without watches, nothing is kept.
    drop(stream);
    let alone = hub.saw(&hub.reading(), status("a", 1, Exited, 5));
    assert_eq!(alone.is_newer_than(&last), Some(true));
    assert!(feed.known().is_empty() && hub.current(&alone.worker).is_none());
}

#[tokio::test]
async fn p1_a_platforms_own_versions_count() {
    let (_hub, mut stream, feed) = fed().await;
    let counted = |phase, count| {
        let mut status = status("a", 1, phase, 1);
        Arc::make_mut(&mut status).version = Some(crate::status::Version::of_platform(count));
        status
    };
    feed.resync([counted(Running, 7)]);
    feed.apply(counted(Created, 6));
    feed.apply(counted(Running, 7));
    assert_eq!(read(&mut stream), ["resync", "listed a#1 running", "synced"]);
    feed.apply(counted(Exited, 8));
    assert_eq!(read(&mut stream), ["applied a#1 exited"]);
}

#[tokio::test]
async fn p1_the_word_that_one_is_gone_names_its_run() {
    let (_hub, mut stream, feed) = fed().await;
    let mut running = status("a", 1, Running, 1);
    Arc::make_mut(&mut running).run = Some(crate::model::RunId::new("run-3"));
    feed.resync([running]);
    assert_eq!(read(&mut stream).len(), 3);
    feed.gone(gone("a", 1, ""));
    let mut last = None;
    while let Some(Some(item)) = stream.next().now_or_never() {
        last = Some(item.unwrap());
    }
    let Some(WorkerObservation::Gone(gone)) = last else { panic!("{last:?}") };
    assert_eq!((gone.native_id.as_str(), gone.run.as_ref().map(|run| run.as_str())), ("a-1", Some("run-3")));
}
