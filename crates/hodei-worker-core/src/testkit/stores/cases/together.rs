use futures::{StreamExt as _, stream};

use super::{CaseResult, StoreContext, cases, check, check_eq, event, worker};
use crate::{
    error::ErrorKind,
    store::{Batch, Expected},
};

cases! {
    l6_many_writers_write_at_once;
    l6_of_those_who_race_for_a_version_one_wins;
    l6_counting_by_many_loses_none;
}

async fn l6_many_writers_write_at_once(cx: StoreContext) -> CaseResult {
    const WRITERS: usize = 64;
    const EACH: u64 = 10;
    let store = cx.open().await?;
    let writers = stream::iter(0..WRITERS).map(|n| {
        let store = store.clone();
        async move {
            let id = worker(&format!("w{n}"))?;
            for version in 0..EACH {
                store.say(&id, version, &["x"]).await?;
            }
            CaseResult::Ok(())
        }
    });
    let written: Vec<_> = writers.buffer_unordered(WRITERS).collect().await;
    written.into_iter().collect::<CaseResult<()>>()?;
    let log = store.whole_log(1000).await?;
    check_eq!(log.len(), WRITERS * EACH as usize);
    check!(log.windows(2).all(|pair| pair[0].position < pair[1].position), "positions are not in order");
    for n in 0..WRITERS {
        let versions: Vec<_> = store
            .stream(&worker(&format!("w{n}"))?)
            .await?
            .events
            .iter()
            .map(|event| event.version)
            .collect();
        check_eq!(versions, (1..=EACH).collect::<Vec<_>>());
    }
    Ok(())
}

async fn l6_of_those_who_race_for_a_version_one_wins(cx: StoreContext) -> CaseResult {
    const RACERS: usize = 8;
    let store = cx.open().await?;
    let a = worker("a")?;
    for version in 0..20 {
        let racers = stream::iter(0..RACERS).map(|n| {
            let (store, a) = (store.clone(), a.clone());
            async move { store.say(&a, version, &[&n.to_string()]).await }
        });
        let results: Vec<_> = racers.buffer_unordered(RACERS).collect().await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        let lost = results
            .iter()
            .filter(|result| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict))
            .count();
        check_eq!((won, lost), (1, RACERS - 1));
    }
    check_eq!(store.stream(&a).await?.events.len(), 20);
    Ok(())
}

async fn l6_counting_by_many_loses_none(cx: StoreContext) -> CaseResult {
    const COUNTERS: usize = 8;
    const EACH: usize = 10;
    let store = cx.open().await?;
    store.write(Batch::new().put("count", Expected::Absent, event("0"))).await?;
    let counters = stream::iter(0..COUNTERS).map(|_| {
        let store = store.clone();
        async move {
            let mut counted = 0;
            while counted < EACH {
                let value = store.get("count").await?.ok_or_else(|| "it is gone".to_owned())?;
                let count: usize = String::from_utf8_lossy(&value.value).parse().unwrap_or(usize::MAX);
                let next = Batch::new().put(
                    "count",
                    Expected::Version(value.version),
                    event(&(count + 1).to_string()),
                );
                match store.write(next).await {
                    Ok(()) => counted += 1,
                    Err(error) if error.kind() == ErrorKind::Conflict => {}
                    Err(error) => return Err(error.into()),
                }
            }
            CaseResult::Ok(())
        }
    });
    let counted: Vec<_> = counters.buffer_unordered(COUNTERS).collect().await;
    counted.into_iter().collect::<CaseResult<()>>()?;
    let value = store.get("count").await?.ok_or_else(|| "it is gone".to_owned())?;
    check_eq!(value.value, event(&(COUNTERS * EACH).to_string()));
    check_eq!(value.version, (COUNTERS * EACH + 1) as u64);
    Ok(())
}
