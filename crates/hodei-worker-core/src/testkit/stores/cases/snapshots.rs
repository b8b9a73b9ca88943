use super::{CaseResult, StoreContext, cases, check, check_eq, event, events, fails_with, texts, worker};
use crate::{
    error::ErrorKind,
    store::{Batch, WorkerSnapshot},
};

cases! {
    l6_a_snapshot_names_the_position_of_its_version;
    l6_snapshots_are_listed_in_order_and_pages;
    l6_a_snapshot_covers_no_more_than_the_stream_has;
    l6_a_snapshot_does_not_go_back;
    l6_a_forgotten_worker_has_no_stream_and_no_snapshot;
    l6_a_forgotten_worker_begins_at_version_one;
    l6_only_the_stream_as_it_is_can_be_forgotten;
}

async fn l6_a_snapshot_names_the_position_of_its_version(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let (a, b) = (worker("a")?, worker("b")?);
    store.say(&b, 0, &["b1"]).await?;
    store.say(&a, 0, &["a1", "a2"]).await?;
    store.say(&b, 1, &["b2"]).await?;
    store.say(&a, 2, &["a3"]).await?;
    let stream = store.stream(&a).await?;
    for version in 1..=3 {
        let position = stream.events[version - 1].position;
        let version = version as u64;
        store.put(Batch::new().save(a.clone(), version, format!("fold {version}"))).await?;
        let expected = WorkerSnapshot::new(a.clone(), version, position, event(&format!("fold {version}")));
        check_eq!(store.snapshots(None, 10).await?, [expected]);
    }
    // With the events that it covers.
    let appended =
        store.put(Batch::new().append(a.clone(), 3, events(&["a4", "a5"])).save(a.clone(), 5, "f")).await?;
    check_eq!(store.snapshots(None, 10).await?[0].position, appended.last);
    Ok(())
}

async fn l6_snapshots_are_listed_in_order_and_pages(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    for id in ["c", "a", "a-1", "b", "a0"] {
        let id = worker(id)?;
        store.put(Batch::new().append(id.clone(), 0, [event("1")]).save(id, 1, "fold")).await?;
    }
    let ids = async |after: Option<&str>, limit| {
        let after = after.map(worker).transpose()?;
        let listed = store.snapshots(after.as_ref(), limit).await?;
        Ok::<_, super::CaseFailure>(listed.iter().map(|kept| kept.worker.to_string()).collect::<Vec<_>>())
    };
    check_eq!(ids(None, 100).await?, ["a", "a-1", "a0", "b", "c"]);
    check_eq!(ids(None, 2).await?, ["a", "a-1"]);
    check_eq!(ids(Some("a-1"), 2).await?, ["a0", "b"]);
    check_eq!(ids(Some("a1"), 9).await?, ["b", "c"]);
    check_eq!(ids(Some("c"), 9).await?, [""; 0]);
    Ok(())
}

async fn l6_a_snapshot_covers_no_more_than_the_stream_has(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let (a, b) = (worker("a")?, worker("b")?);
    store.say(&a, 0, &["a1", "a2"]).await?;
    fails_with(ErrorKind::Conflict, store.put(Batch::new().save(a.clone(), 3, "no")).await)?;
    let beyond = Batch::new().append(b.clone(), 0, [event("b1")]).save(b, 2, "no");
    fails_with(ErrorKind::Conflict, store.put(beyond).await)?;
    check!(store.snapshots(None, 10).await?.is_empty(), "a snapshot of what is not there");
    Ok(())
}

async fn l6_a_snapshot_does_not_go_back(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let a = worker("a")?;
    store.say(&a, 0, &["a1", "a2", "a3"]).await?;
    store.put(Batch::new().save(a.clone(), 2, "two")).await?;
    let error = fails_with(ErrorKind::Conflict, store.put(Batch::new().save(a.clone(), 1, "no")).await)?;
    check_eq!(error.context_value("worker"), Some("a"));
    store.put(Batch::new().save(a.clone(), 2, "two again")).await?;
    check_eq!(store.snapshots(None, 10).await?[0].state, event("two again"));
    store.put(Batch::new().save(a.clone(), 3, "three")).await?;
    check_eq!(store.snapshots(None, 10).await?[0].version, 3);
    Ok(())
}

async fn l6_a_forgotten_worker_has_no_stream_and_no_snapshot(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let (a, b) = (worker("a")?, worker("b")?);
    store.say(&a, 0, &["a1", "a2"]).await?;
    store.say(&b, 0, &["b1"]).await?;
    store.put(Batch::new().save(a.clone(), 2, "fold")).await?;
    store.put(Batch::new().append(a.clone(), 2, [event("over")]).forget(a.clone(), 3)).await?;
    let page = store.stream(&a).await?;
    check!(page.events.is_empty() && page.is_last, "{page:?}");
    check!(store.snapshots(None, 10).await?.is_empty(), "its snapshot is still there");
    // The log keeps what happened.
    check_eq!(store.whole_log(10).await?.len(), 4);
    check_eq!(texts(&store.stream(&b).await?), ["b1"]);
    Ok(())
}

async fn l6_a_forgotten_worker_begins_at_version_one(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let a = worker("a")?;
    for life in ["first", "second"] {
        store.say(&a, 0, &[life, life]).await?;
        check_eq!(texts(&store.stream(&a).await?), [life, life]);
        check_eq!(store.read_stream(&a, 1, 10).await?.events[0].version, 2);
        store.put(Batch::new().forget(a.clone(), 2)).await?;
        fails_with(ErrorKind::Conflict, store.say(&a, 2, &["late"]).await)?;
    }
    store.say(&a, 0, &["third"]).await?;
    let page = store.stream(&a).await?;
    check_eq!((page.events.len(), page.events[0].version, page.is_last, page.compacted), (1, 1, true, false));
    store.put(Batch::new().save(a.clone(), 1, "fold")).await?;
    check_eq!(store.snapshots(None, 10).await?[0].position, page.events[0].position);
    let versions: Vec<_> = store.whole_log(10).await?.iter().map(|event| event.version).collect();
    check_eq!(versions, [1, 2, 1, 2, 1]);
    Ok(())
}

async fn l6_only_the_stream_as_it_is_can_be_forgotten(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let a = worker("a")?;
    store.say(&a, 0, &["a1", "a2"]).await?;
    for version in [0, 1, 3] {
        let error =
            fails_with(ErrorKind::Conflict, store.put(Batch::new().forget(a.clone(), version)).await)?;
        check_eq!(error.context_value("worker"), Some("a"));
    }
    check_eq!(store.stream(&a).await?.events.len(), 2);
    Ok(())
}
