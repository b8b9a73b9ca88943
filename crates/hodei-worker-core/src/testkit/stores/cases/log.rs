use super::{CaseFailure, CaseResult, PATIENCE, StoreContext, cases, check, check_eq, event, texts, worker};
use crate::store::Batch;

cases! {
    l6_the_log_is_read_in_pages;
    l6_a_page_says_whether_it_is_the_last;
    l6_reading_beyond_the_end_is_empty;
    l6_a_stream_is_read_in_pages;
    l6_a_stream_that_is_not_there_is_empty;
    l6_a_waiting_reader_is_woken;
    l6_what_is_there_is_not_waited_for;
    l6_a_reader_who_follows_misses_nothing;
}

async fn l6_the_log_is_read_in_pages(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    for n in 0..10 {
        store.say(&worker(&format!("w{}", n % 3))?, n / 3, &[&n.to_string()]).await?;
    }
    let whole = store.whole_log(100).await?;
    let order: Vec<_> = whole.iter().map(|event| event.event.clone()).collect();
    check_eq!(order, (0..10).map(|n| event(&n.to_string())).collect::<Vec<_>>());
    for page in [1, 3, 5, 9, 10, 11] {
        check_eq!(store.whole_log(page).await?, whole);
    }
    let middle = store.read(whole[3].position, 2).await?;
    check_eq!(texts(&middle), ["4", "5"]);
    check_eq!(middle.next, whole[5].position);
    check!(!middle.compacted, "{middle:?}");
    Ok(())
}

async fn l6_a_page_says_whether_it_is_the_last(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let last = store.say(&worker("a")?, 0, &["1", "2", "3"]).await?.last;
    check!(!store.read(0, 2).await?.is_last, "there is a third");
    let all = store.read(0, 100).await?;
    check!(all.is_last, "{all:?}");
    check_eq!(all.next, last);
    check_eq!(store.read(all.next, 100).await?.events.len(), 0);
    Ok(())
}

async fn l6_reading_beyond_the_end_is_empty(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let page = store.read(0, 10).await?;
    check!(page.events.is_empty() && page.is_last && !page.compacted, "{page:?}");
    check_eq!(page.next, 0);
    let a = worker("a")?;
    let last = store.say(&a, 0, &["1"]).await?.last;
    for page in [store.read(last, 10).await?, store.read(last + 100, 10).await?] {
        check!(page.events.is_empty() && page.is_last && page.next >= last, "{page:?}");
    }
    let page = store.read_stream(&a, 7, 10).await?;
    check!(page.events.is_empty() && page.is_last && !page.compacted, "{page:?}");
    Ok(())
}

async fn l6_a_stream_is_read_in_pages(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let (a, b) = (worker("a")?, worker("b")?);
    for n in 0..6 {
        store.say(&a, n * 2, &[&format!("a{}", n * 2 + 1), &format!("a{}", n * 2 + 2)]).await?;
        store.say(&b, n, &["other"]).await?;
    }
    let page = store.read_stream(&a, 3, 4).await?;
    check_eq!(texts(&page), ["a4", "a5", "a6", "a7"]);
    check_eq!((page.next, page.is_last, page.compacted), (7, false, false));
    let versions: Vec<_> = page.events.iter().map(|event| event.version).collect();
    check_eq!(versions, [4, 5, 6, 7]);
    let page = store.read_stream(&a, 7, 5).await?;
    check_eq!((page.events.len(), page.next, page.is_last), (5, 12, true));
    check_eq!(store.read_stream(&a, 12, 5).await?.events.len(), 0);
    Ok(())
}

async fn l6_a_stream_that_is_not_there_is_empty(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    store.say(&worker("a")?, 0, &["1"]).await?;
    let page = store.stream(&worker("nobody")?).await?;
    check!(page.events.is_empty() && page.is_last && !page.compacted, "{page:?}");
    Ok(())
}

async fn l6_a_waiting_reader_is_woken(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let a = worker("a")?;
    let last = store.say(&a, 0, &["1"]).await?.last;
    let reader = {
        let store = store.clone();
        tokio::spawn(async move {
            // It may return too early.
            while store.read(last, 1).await?.events.is_empty() {
                store.changed(last).await?;
            }
            Ok::<_, crate::Error>(())
        })
    };
    tokio::task::yield_now().await;
    store.say(&a, 1, &["2"]).await?;
    match tokio::time::timeout(PATIENCE, reader).await {
        Ok(Ok(read)) => Ok(read?),
        other => Err(CaseFailure::new(format!("the reader was not woken: {other:?}"))),
    }
}

async fn l6_what_is_there_is_not_waited_for(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let last = store.say(&worker("a")?, 0, &["1"]).await?.last;
    for after in 0..last {
        if tokio::time::timeout(PATIENCE, store.changed(after)).await.is_err() {
            return Err(CaseFailure::new(format!("waits for what comes after {after}, of {last}")));
        }
    }
    Ok(())
}

async fn l6_a_reader_who_follows_misses_nothing(cx: StoreContext) -> CaseResult {
    const WRITERS: u64 = 8;
    const EACH: u64 = 25;
    let store = cx.open().await?;
    let reader = {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut seen, mut after) = (Vec::new(), 0);
            while (seen.len() as u64) < WRITERS * EACH {
                let page = store.read(after, 7).await?;
                after = page.next;
                let nothing = page.events.is_empty();
                seen.extend(page.events);
                if nothing {
                    store.changed(after).await?;
                }
            }
            Ok::<_, crate::Error>(seen)
        })
    };
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..WRITERS {
        let (store, id) = (store.clone(), worker(&format!("w{n}"))?);
        writers.spawn(async move {
            for version in 0..EACH {
                store.put(Batch::new().append(id.clone(), version, [event("x")])).await?;
            }
            Ok::<_, crate::Error>(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written.map_err(|error| CaseFailure::new(error.to_string()))??;
    }
    let seen = match tokio::time::timeout(PATIENCE, reader).await {
        Ok(Ok(seen)) => seen?,
        _ => return Err(CaseFailure::new("the reader missed events")),
    };
    check_eq!(seen, store.whole_log(1000).await?);
    Ok(())
}
