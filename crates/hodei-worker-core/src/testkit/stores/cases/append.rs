use bytes::Bytes;

use super::{CaseResult, StoreContext, cases, check, check_eq, event, events, fails_with, texts, worker};
use crate::{
    error::ErrorKind,
    store::{Batch, Expected},
};

cases! {
    l6_an_event_is_read_as_it_was_written;
    l6_versions_count_from_one_and_positions_rise;
    l6_another_version_than_expected_is_a_conflict;
    l6_a_batch_is_written_whole_or_not_at_all;
    l6_a_batch_of_several_streams_says_where_each_begins;
    l6_a_batch_that_makes_no_sense_is_refused;
    l6_a_batch_of_nothing_is_no_error;
    l6_large_events_and_large_batches_are_kept;
    l6_a_write_that_was_given_up_leaves_the_store_whole;
    l6_state_beside_events_is_written_with_them;
}

async fn l6_an_event_is_read_as_it_was_written(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let a = worker("a")?;
    let all: Vec<u8> = (0..=255).collect();
    let written = [Bytes::new(), Bytes::from(all), event("ä\0\n")];
    store.put(Batch::new().append(a.clone(), 0, written.clone())).await?;
    let page = store.stream(&a).await?;
    let read: Vec<_> = page.events.iter().map(|event| event.event.clone()).collect();
    check_eq!(read, written);
    check!(page.events.iter().all(|event| event.worker == a), "{page:?}");
    Ok(())
}

async fn l6_versions_count_from_one_and_positions_rise(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let (a, b) = (worker("a")?, worker("b")?);
    check_eq!(store.last_position().await?, 0);
    store.say(&a, 0, &["a1", "a2"]).await?;
    store.say(&b, 0, &["b1"]).await?;
    let last = store.say(&a, 2, &["a3"]).await?.last;
    check_eq!(store.last_position().await?, last);
    let log = store.whole_log(100).await?;
    let seen: Vec<_> = log.iter().map(|event| (event.worker.as_str(), event.version)).collect();
    check_eq!(seen, [("a", 1), ("a", 2), ("b", 1), ("a", 3)]);
    check!(log[0].position >= 1, "{log:?}");
    check!(log.windows(2).all(|pair| pair[0].position < pair[1].position), "{log:?}");
    check_eq!(log[3].position, last);
    Ok(())
}

async fn l6_another_version_than_expected_is_a_conflict(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let a = worker("a")?;
    for expected in [1, u64::MAX] {
        fails_with(ErrorKind::Conflict, store.say(&a, expected, &["no"]).await)?;
    }
    store.say(&a, 0, &["a1", "a2"]).await?;
    for expected in [0, 1, 3] {
        let error = fails_with(ErrorKind::Conflict, store.say(&a, expected, &["no"]).await)?;
        check_eq!(error.context_value("worker"), Some("a"));
        check!(!error.is_retryable(), "{error:?}");
    }
    check_eq!(texts(&store.stream(&a).await?), ["a1", "a2"]);
    store.say(&a, 2, &["a3"]).await?;
    check_eq!(store.whole_log(10).await?.len(), 3);
    Ok(())
}

async fn l6_a_batch_is_written_whole_or_not_at_all(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let (a, b) = (worker("a")?, worker("b")?);
    store.say(&a, 0, &["a1"]).await?;
    let last = store.last_position().await?;
    let good = || Batch::new().append(b.clone(), 0, [event("b1")]).put("k", Expected::Absent, "v");
    for bad in [
        good().append(a.clone(), 5, [event("a2")]),
        good().put("other", Expected::Version(1), "v"),
        good().save(a.clone(), 2, "beyond"),
        good().forget(a.clone(), 0),
    ] {
        fails_with(ErrorKind::Conflict, store.put(bad).await)?;
        check_eq!(store.last_position().await?, last);
        check!(store.stream(&b).await?.events.is_empty(), "half a batch was written");
        check_eq!(store.get("k").await?, None);
    }
    store.put(good()).await?;
    check_eq!(texts(&store.stream(&b).await?), ["b1"]);
    Ok(())
}

async fn l6_a_batch_of_several_streams_says_where_each_begins(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let (a, b) = (worker("a")?, worker("b")?);
    let batch = Batch::new().append(b.clone(), 0, events(&["b1", "b2"])).append(
        a.clone(),
        0,
        events(&["a1", "a2", "a3"]),
    );
    let appended = store.put(batch).await?;
    check_eq!(appended.first.len(), 2);
    for (first, worker, count) in [(appended.first[0], &b, 2), (appended.first[1], &a, 3)] {
        let page = store.stream(worker).await?;
        let positions: Vec<_> = page.events.iter().map(|event| event.position).collect();
        check_eq!(positions, (first..first + count).collect::<Vec<_>>());
    }
    check_eq!(appended.last, appended.first[1] + 2);
    Ok(())
}

async fn l6_a_batch_that_makes_no_sense_is_refused(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let a = worker("a")?;
    store.say(&a, 0, &["a1"]).await?;
    let batch = Batch::new;
    for bad in [
        batch().append(a.clone(), 1, [event("x")]).append(a.clone(), 2, [event("y")]),
        batch().append(a.clone(), 1, []),
        batch().put("k", Expected::Any, "1").remove("k", Expected::Any),
        batch().put("", Expected::Any, "1"),
        batch().put("k".repeat(501), Expected::Any, "1"),
        batch().save(a.clone(), 1, "s").forget(a.clone(), 1),
        batch().save(a.clone(), 0, "s"),
    ] {
        fails_with(ErrorKind::Config, store.put(bad).await)?;
    }
    check_eq!(store.whole_log(10).await?.len(), 1);
    Ok(())
}

async fn l6_a_batch_of_nothing_is_no_error(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let appended = store.put(Batch::new()).await?;
    check_eq!((appended.first.len(), appended.last), (0, 0));
    store.say(&worker("a")?, 0, &["a1"]).await?;
    check_eq!(store.put(Batch::new().put("k", Expected::Any, "v")).await?.last, 0);
    Ok(())
}

async fn l6_large_events_and_large_batches_are_kept(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let (a, b) = (worker("a")?, worker("b")?);
    let large = Bytes::from(vec![7; 1 << 20]);
    store.put(Batch::new().append(a.clone(), 0, [large.clone()])).await?;
    let many: Vec<_> = (0..5_000).map(|n| event(&n.to_string())).collect();
    store.put(Batch::new().append(b.clone(), 0, many)).await?;
    check!(store.stream(&a).await?.events[0].event == large, "the large event differs");
    let page = store.stream(&b).await?;
    check_eq!(page.events.len(), 5_000);
    check!(
        page.events.iter().enumerate().all(|(n, event)| event.event == n.to_string().as_bytes()),
        "the events of a large batch differ"
    );
    check_eq!(store.whole_log(1_000).await?.len(), 5_001);
    Ok(())
}

async fn l6_a_write_that_was_given_up_leaves_the_store_whole(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    for n in 0..50 {
        let id = worker(&format!("w{n}"))?;
        let writing = store.say(&id, 0, &["1", "2"]);
        let mut writing = Box::pin(writing);
        for _ in 0..n % 5 {
            // Polled a few times, and dropped.
            if futures::poll!(&mut writing).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(writing);
    }
    store.say(&worker("last")?, 0, &["x"]).await?;
    for n in 0..50 {
        let id = worker(&format!("w{n}"))?;
        let version = match texts(&store.stream(&id).await?).len() {
            0 => 0,
            2 => 2,
            other => return Err(super::CaseFailure::new(format!("{other} of 2 events were written"))),
        };
        // Or it is written after all by now.
        if let Err(error) = store.say(&id, version, &["on"]).await {
            check_eq!((error.kind(), version), (ErrorKind::Conflict, 0));
        }
    }
    Ok(())
}

async fn l6_state_beside_events_is_written_with_them(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let a = worker("a")?;
    let batch = Batch::new().append(a.clone(), 0, [event("a1")]).put("k", Expected::Absent, "v1");
    store.put(batch.save(a.clone(), 1, "fold")).await?;
    check_eq!(texts(&store.stream(&a).await?), ["a1"]);
    check_eq!(store.get("k").await?.map(|value| value.value), Some(event("v1")));
    check_eq!(store.snapshots(None, 10).await?.len(), 1);
    Ok(())
}
