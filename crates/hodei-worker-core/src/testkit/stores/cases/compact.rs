use super::{CaseResult, Hand, StoreContext, cases, check, check_eq, event, events, texts, worker};
use crate::store::{Batch, Compaction};

cases! {
    l6_what_snapshots_cover_is_compacted_away;
    l6_what_nothing_covers_stays;
    l6_an_empty_log_has_nothing_to_compact;
    l6_what_was_compacted_is_told_from_what_was_never_there;
    l6_forgotten_workers_are_compacted_away;
    l6_positions_and_versions_go_on_after_a_compaction;
    l6_a_compaction_loses_no_state;
}

/// Three events of `a`, two of `b`, in turns.
async fn filled(cx: &StoreContext) -> CaseResult<Hand> {
    let store = cx.open().await?;
    let (a, b) = (worker("a")?, worker("b")?);
    store.say(&a, 0, &["a1"]).await?;
    store.say(&b, 0, &["b1"]).await?;
    store.say(&a, 1, &["a2"]).await?;
    store.say(&b, 1, &["b2"]).await?;
    store.say(&a, 2, &["a3"]).await?;
    Ok(store)
}

async fn l6_what_snapshots_cover_is_compacted_away(cx: StoreContext) -> CaseResult {
    let store = filled(&cx).await?;
    let (a, b) = (worker("a")?, worker("b")?);
    let log = store.whole_log(10).await?;
    store.put(Batch::new().save(a.clone(), 3, "a").save(b.clone(), 1, "b")).await?;
    let first = store.compact(log[1].position).await?;
    check_eq!(first, Compaction::new(2, log[2].position));
    check_eq!(store.whole_log(10).await?, log[2..]);
    // `b2` is covered by nothing.
    let second = store.compact(u64::MAX).await?;
    check_eq!(second, Compaction::new(1, log[3].position));
    check_eq!(store.whole_log(10).await?, log[3..]);
    check_eq!(texts(&store.stream(&a).await?), ["a3"]);
    check_eq!(store.compact(u64::MAX).await?.removed, 0);
    Ok(())
}

async fn l6_what_nothing_covers_stays(cx: StoreContext) -> CaseResult {
    let store = filled(&cx).await?;
    check_eq!(store.compact(u64::MAX).await?.removed, 0);
    // The first event of the log is of `a`, whatever covers `b`.
    store.put(Batch::new().save(worker("b")?, 2, "b")).await?;
    check_eq!(store.compact(u64::MAX).await?.removed, 0);
    check_eq!(store.whole_log(10).await?.len(), 5);
    Ok(())
}

async fn l6_an_empty_log_has_nothing_to_compact(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    for through in [0, 1, u64::MAX] {
        check_eq!(store.compact(through).await?.removed, 0);
    }
    check_eq!(store.last_position().await?, 0);
    Ok(())
}

async fn l6_what_was_compacted_is_told_from_what_was_never_there(cx: StoreContext) -> CaseResult {
    let store = filled(&cx).await?;
    let (a, b) = (worker("a")?, worker("b")?);
    let log = store.whole_log(10).await?;
    store.put(Batch::new().save(a.clone(), 2, "a").save(b.clone(), 1, "b")).await?;
    check_eq!(store.compact(u64::MAX).await?.removed, 3);
    let page = store.read(0, 10).await?;
    check!(page.compacted && page.is_last, "{page:?}");
    check!(!store.read(log[2].position, 10).await?.compacted, "nothing is missing after the third");
    check!(store.read(log[1].position, 10).await?.compacted, "the third is missing");
    let page = store.read_stream(&a, 0, 10).await?;
    check!(page.compacted && page.is_last, "{page:?}");
    check_eq!((page.events.len(), page.events[0].version), (1, 3));
    check!(store.read_stream(&a, 1, 10).await?.compacted, "a2 is missing");
    check!(!store.read_stream(&a, 2, 10).await?.compacted, "a3 is there");
    Ok(())
}

async fn l6_forgotten_workers_are_compacted_away(cx: StoreContext) -> CaseResult {
    let store = filled(&cx).await?;
    let (a, b) = (worker("a")?, worker("b")?);
    let log = store.whole_log(10).await?;
    store.put(Batch::new().forget(a.clone(), 3).save(b.clone(), 2, "b")).await?;
    // A new life of the same worker is not covered by the end of the last.
    let again = store.say(&a, 0, &["again"]).await?.last;
    check_eq!(store.compact(log[2].position).await?.removed, 3);
    check_eq!(store.compact(u64::MAX).await?, Compaction::new(2, again));
    check_eq!(texts(&store.stream(&a).await?), ["again"]);
    store.put(Batch::new().forget(a.clone(), 1)).await?;
    check_eq!(store.compact(u64::MAX).await?.removed, 1);
    check!(store.whole_log(10).await?.is_empty(), "something is left");
    store.say(&a, 0, &["third"]).await?;
    check_eq!(texts(&store.stream(&a).await?), ["third"]);
    check!(!store.stream(&a).await?.compacted, "its stream is new");
    Ok(())
}

async fn l6_positions_and_versions_go_on_after_a_compaction(cx: StoreContext) -> CaseResult {
    let store = filled(&cx).await?;
    let (a, b) = (worker("a")?, worker("b")?);
    let last = store.last_position().await?;
    store.put(Batch::new().save(a.clone(), 3, "a").save(b.clone(), 2, "b")).await?;
    check_eq!(store.compact(u64::MAX).await?.removed, 5);
    check_eq!(store.last_position().await?, last);
    let page = store.read(0, 10).await?;
    check!(page.events.is_empty() && page.compacted && page.is_last && page.next == last, "{page:?}");
    let page = store.stream(&a).await?;
    check!(page.events.is_empty() && page.compacted && page.is_last && page.next == 3, "{page:?}");
    let appended = store.say(&a, 3, &["a4", "a5"]).await?;
    check!(appended.first[0] > last, "positions go back: {appended:?}");
    let page = store.read_stream(&a, 3, 10).await?;
    check_eq!(texts(&page), ["a4", "a5"]);
    check_eq!((page.events[0].version, page.compacted), (4, false));
    store.put(Batch::new().save(a.clone(), 4, "a4")).await?;
    check_eq!(store.compact(u64::MAX).await?.removed, 1);
    Ok(())
}

async fn l6_a_compaction_loses_no_state(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    for n in 0..30 {
        let id = worker(&format!("w{}", n % 5))?;
        let version = n / 5;
        let mut batch = Batch::new().append(id.clone(), version, [event(&n.to_string())]);
        if n % 3 == 0 {
            batch = batch.save(id, version + 1, format!("{}", version + 1));
        }
        store.put(batch).await?;
        let before = store.last_position().await?;
        store.compact(before).await?;
        // A snapshot and what comes after it give the whole stream.
        for w in 0..5 {
            let id = worker(&format!("w{w}"))?;
            let kept = store.snapshots(None, 100).await?.into_iter().find(|kept| kept.worker == id);
            let covered = kept.map_or(0, |kept| kept.version);
            let page = store.read_stream(&id, covered, 100).await?;
            check!(!page.compacted, "after {n}: {id} lost events after {covered}");
            let written = (n + 5 - w) / 5;
            check_eq!(covered + page.events.len() as u64, written);
        }
    }
    let kept = events(&["29"]);
    check_eq!(store.read_stream(&worker("w4")?, 5, 10).await?.events[0].event, kept[0]);
    Ok(())
}
