use std::{sync::Arc, time::Duration};

use super::{
    CaseFailure, CaseResult, Hand, StoreContext, cases, check, check_eq, event, fails_with, texts, worker,
};
use crate::{
    error::ErrorKind,
    store::{Batch, Expected, StateEntry, StoredEvent, WorkerSnapshot},
};

cases! {
    l6_a_store_says_what_it_is;
    l6_everything_is_there_when_it_is_opened_again;
    l6_versions_and_positions_go_on_when_it_is_opened_again;
    l6_what_was_forgotten_stays_so_when_it_is_opened_again;
    l6_a_compacted_store_is_opened_again;
    l6_another_handle_sees_what_is_written;
}

async fn l6_a_store_says_what_it_is(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let info = store.info();
    check!(!info.kind.is_empty() && !info.place.is_empty(), "{info:?}");
    check_eq!(info.shared, store.store.leases().is_some());
    Ok(())
}

fn durable(store: &Hand) -> CaseResult {
    if store.info().durable {
        return Ok(());
    }
    Err(CaseFailure::inapplicable("this store does not outlive its host"))
}

/// Drops the store, all of it, and opens it again.
async fn again(cx: &StoreContext, store: Hand) -> CaseResult<Hand> {
    check_eq!(Arc::strong_count(&store.store), 1);
    let log = store.info().log.clone();
    // A lease is taken over, as the next life of a host does.
    if let (Some(leases), Some(lease)) = (store.store.leases(), &store.lease) {
        leases.release(lease.id).await?;
    }
    let old = store.lease.clone();
    drop(store);
    let store = cx.open().await?;
    check_eq!(store.info().log, log);
    if let (Some(leases), Some(old), Some(new)) = (store.store.leases(), old, &store.lease) {
        leases.take_over(new.id, old.id, 1000).await?;
    }
    Ok(store)
}

type Everything = (Vec<StoredEvent>, Vec<StateEntry>, Vec<WorkerSnapshot>, u64);

async fn everything(store: &Hand) -> CaseResult<Everything> {
    Ok((
        store.whole_log(100).await?,
        store.list("", None, 1000).await?,
        store.snapshots(None, 1000).await?,
        store.last_position().await?,
    ))
}

async fn l6_everything_is_there_when_it_is_opened_again(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    durable(&store)?;
    for n in 0..20 {
        let id = worker(&format!("w{}", n % 4))?;
        let mut batch = Batch::new().append(id.clone(), n / 4, [event(&n.to_string())]);
        batch = batch.put(format!("k/{}", n % 7), Expected::Any, event(&n.to_string()));
        if n % 6 == 5 {
            batch = batch.save(id, n / 4 + 1, event("fold")).remove("k/0", Expected::Any);
        }
        store.put(batch).await?;
    }
    let before = everything(&store).await?;
    let store = again(&cx, store).await?;
    check_eq!(everything(&store).await?, before);
    let store = again(&cx, store).await?;
    check_eq!(everything(&store).await?, before);
    Ok(())
}

async fn l6_versions_and_positions_go_on_when_it_is_opened_again(cx: StoreContext) -> CaseResult {
    let mut store = cx.open().await?;
    durable(&store)?;
    let a = worker("a")?;
    let mut last = 0;
    for version in 0..5 {
        fails_with(ErrorKind::Conflict, store.say(&a, version + 1, &["no"]).await)?;
        let appended = store.say(&a, version, &[&version.to_string()]).await?;
        check!(appended.last > last, "positions go back: {appended:?} after {last}");
        last = appended.last;
        store.write(Batch::new().put("k", Expected::Any, "v")).await?;
        store = again(&cx, store).await?;
        check_eq!(store.last_position().await?, last);
        check_eq!(store.get("k").await?.map(|value| value.version), Some(version + 1));
    }
    check_eq!(texts(&store.stream(&a).await?), ["0", "1", "2", "3", "4"]);
    Ok(())
}

async fn l6_what_was_forgotten_stays_so_when_it_is_opened_again(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    durable(&store)?;
    let (a, b) = (worker("a")?, worker("b")?);
    store.say(&a, 0, &["a1", "a2"]).await?;
    store.put(Batch::new().append(b.clone(), 0, [event("b1")]).forget(a.clone(), 2)).await?;
    let store = again(&cx, store).await?;
    check!(store.stream(&a).await?.events.is_empty(), "it came back");
    store.say(&a, 0, &["again"]).await?;
    let store = again(&cx, store).await?;
    check_eq!(texts(&store.stream(&a).await?), ["again"]);
    check_eq!(store.compact(u64::MAX).await?.removed, 2);
    let store = again(&cx, store).await?;
    check_eq!(texts(&store.stream(&a).await?), ["again"]);
    check_eq!(store.whole_log(10).await?.len(), 2);
    Ok(())
}

async fn l6_a_compacted_store_is_opened_again(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    durable(&store)?;
    let (a, b) = (worker("a")?, worker("b")?);
    store.say(&a, 0, &["a1", "a2"]).await?;
    store.put(Batch::new().append(b.clone(), 0, [event("b1")]).save(a.clone(), 2, "fold")).await?;
    check_eq!(store.compact(u64::MAX).await?.removed, 2);
    let before = everything(&store).await?;
    let store = again(&cx, store).await?;
    check_eq!(everything(&store).await?, before);
    check!(store.read(0, 10).await?.compacted, "it does not know any more that it was compacted");
    store.put(Batch::new().save(b.clone(), 1, "fold")).await?;
    check_eq!(store.compact(u64::MAX).await?.removed, 1);
    let store = again(&cx, store).await?;
    check_eq!(store.last_position().await?, before.3);
    let appended = store.say(&a, 2, &["a3"]).await?;
    check!(appended.last > before.3, "positions go back: {appended:?}");
    let page = store.stream(&a).await?;
    check_eq!((page.compacted, page.events[0].version), (true, 3));
    Ok(())
}

async fn l6_another_handle_sees_what_is_written(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let other = cx.another(&store, Duration::from_secs(3600)).await?;
    check_eq!(store.info().log, other.info().log);
    let a = worker("a")?;
    let last = store.say(&a, 0, &["a1"]).await?.last;
    store.write(Batch::new().put("k", Expected::Absent, "v")).await?;
    check_eq!(other.whole_log(10).await?, store.whole_log(10).await?);
    check_eq!(other.last_position().await?, last);
    fails_with(ErrorKind::Conflict, other.write(Batch::new().put("k", Expected::Absent, "w")).await)?;
    other.write(Batch::new().put("k", Expected::Version(1), "w")).await?;
    check_eq!(store.get("k").await?.map(|value| value.value), Some(event("w")));
    let next = other.say(&worker("b")?, 0, &["b1"]).await?;
    tokio::time::timeout(super::PATIENCE, async {
        while store.read(last, 1).await?.events.is_empty() {
            store.changed(last).await?;
        }
        CaseResult::Ok(())
    })
    .await
    .map_err(|_| CaseFailure::new(format!("{next:?} of another host was not seen")))?
}
