use super::{
    CaseFailure, CaseResult, PATIENCE, StoreContext, cases, check, check_eq, event, fails_with, worker,
};
use crate::{
    error::ErrorKind,
    store::{Batch, Expected, Fence, HostId, LeaseId},
    testkit::eventually,
};

cases! {
    l6_a_store_of_one_host_knows_no_leases;
    l6_without_a_lease_a_shared_store_takes_no_events;
    l6_a_lease_is_never_given_twice;
    l6_a_new_stream_belongs_to_its_writer;
    l6_what_another_owns_is_fenced;
    l6_a_lease_that_ran_out_is_fenced;
    l6_a_released_lease_is_fenced;
    l6_a_renewed_lease_holds;
    l6_owned_workers_are_listed_in_order_and_pages;
    l6_a_forgotten_worker_belongs_to_nobody;
}

async fn l6_a_store_of_one_host_knows_no_leases(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    if store.info().shared {
        return Err(CaseFailure::inapplicable("several hosts may share this store"));
    }
    check!(store.store.leases().is_none(), "it has leases");
    let a = worker("a")?;
    let fenced = Batch::new().append(a.clone(), 0, [event("1")]).fenced(Some(Fence::new(LeaseId(1))));
    fails_with(ErrorKind::Config, store.append(fenced).await)?;
    check!(store.stream(&a).await?.events.is_empty(), "it was written");
    Ok(())
}

async fn l6_without_a_lease_a_shared_store_takes_no_events(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    store.leases()?;
    let a = worker("a")?;
    store.say(&a, 0, &["1"]).await?;
    for bare in [
        Batch::new().append(a.clone(), 1, [event("2")]),
        Batch::new().append(worker("b")?, 0, [event("1")]),
        Batch::new().save(a.clone(), 1, "fold"),
        Batch::new().forget(a.clone(), 1),
    ] {
        fails_with(ErrorKind::Config, store.append(bare).await)?;
    }
    check_eq!(store.whole_log(10).await?.len(), 1);
    // State belongs to nobody.
    store.append(Batch::new().put("k", Expected::Absent, "v")).await?;
    store.write(Batch::new().put("k", Expected::Version(1), "v")).await?;
    Ok(())
}

async fn l6_a_lease_is_never_given_twice(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let leases = store.leases()?;
    let host = HostId::new("a host")?;
    let mut last = store.lease()?.id;
    for _ in 0..5 {
        let lease = leases.acquire(&host, cx.lease_time()).await?;
        check!(lease.id > last, "{} after {last}", lease.id);
        check_eq!((lease.host, lease.ttl), (host.clone(), cx.lease_time()));
        last = lease.id;
        leases.release(last).await?;
    }
    Ok(())
}

async fn l6_a_new_stream_belongs_to_its_writer(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let leases = store.leases()?;
    let other = cx.another(&store, std::time::Duration::from_secs(3600)).await?;
    store.say(&worker("a")?, 0, &["1", "2"]).await?;
    other.say(&worker("b")?, 0, &["1"]).await?;
    let own = leases.owned(store.lease()?.id, None, 10).await?;
    check_eq!((own.len(), own[0].worker.as_str(), own[0].version), (1, "a", 2));
    let theirs = leases.owned(other.lease()?.id, None, 10).await?;
    check_eq!((theirs.len(), theirs[0].worker.as_str(), theirs[0].version), (1, "b", 1));
    check!(leases.ended().await?.is_empty(), "both hold");
    Ok(())
}

async fn l6_what_another_owns_is_fenced(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let other = cx.another(&store, std::time::Duration::from_secs(3600)).await?;
    let (a, b) = (worker("a")?, worker("b")?);
    store.say(&a, 0, &["1"]).await?;
    for theirs in [
        Batch::new().append(a.clone(), 1, [event("2")]),
        Batch::new().append(b.clone(), 0, [event("1")]).append(a.clone(), 1, [event("2")]),
        Batch::new().save(a.clone(), 1, "fold"),
        Batch::new().forget(a.clone(), 1),
    ] {
        fails_with(ErrorKind::Fenced, other.put(theirs.put("k", Expected::Any, "v")).await)?;
    }
    check_eq!(store.whole_log(10).await?.len(), 1);
    check_eq!(store.get("k").await?, None);
    other.say(&b, 0, &["1"]).await?;
    store.say(&a, 1, &["2"]).await?;
    Ok(())
}

async fn l6_a_lease_that_ran_out_is_fenced(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let leases = store.leases()?;
    let other = cx.another(&store, cx.lease_time()).await?;
    let a = worker("a")?;
    other.say(&a, 0, &["1"]).await?;
    cx.pass_lease_time().await;
    let id = other.lease()?.id;
    eventually(PATIENCE, async || match leases.ended().await?.as_slice() {
        [ended] if *ended == id => Ok(()),
        ended => Err(CaseFailure::new(format!("ended are {ended:?}"))),
    })
    .await?;
    fails_with(ErrorKind::Fenced, other.say(&a, 1, &["2"]).await)?;
    fails_with(ErrorKind::Fenced, other.put(Batch::new().put("k", Expected::Any, "v")).await)?;
    fails_with(ErrorKind::Fenced, leases.renew(id).await)?;
    check_eq!(store.whole_log(10).await?.len(), 1);
    check_eq!(store.get("k").await?, None);
    Ok(())
}

async fn l6_a_released_lease_is_fenced(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let leases = store.leases()?;
    let a = worker("a")?;
    store.say(&a, 0, &["1"]).await?;
    let id = store.lease()?.id;
    leases.release(id).await?;
    leases.release(id).await?;
    check_eq!(leases.ended().await?, [id]);
    fails_with(ErrorKind::Fenced, store.say(&a, 1, &["2"]).await)?;
    fails_with(ErrorKind::Fenced, store.say(&worker("b")?, 0, &["1"]).await)?;
    fails_with(ErrorKind::Fenced, leases.renew(id).await)?;
    fails_with(ErrorKind::Fenced, leases.renew(LeaseId(1 << 40)).await)?;
    Ok(())
}

async fn l6_a_renewed_lease_holds(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let leases = store.leases()?;
    let a = worker("a")?;
    store.say(&a, 0, &["1"]).await?;
    let before = store.lease()?.clone();
    for version in 1..4 {
        check_eq!(leases.renew(before.id).await?, before.clone());
        store.say(&a, version, &["on"]).await?;
    }
    check!(leases.ended().await?.is_empty(), "it holds");
    Ok(())
}

async fn l6_owned_workers_are_listed_in_order_and_pages(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let leases = store.leases()?;
    let id = store.lease()?.id;
    for name in ["c", "a", "a-1", "b", "a0"] {
        store.say(&worker(name)?, 0, &["1"]).await?;
    }
    let names = async |after: Option<&str>, limit| {
        let after = after.map(worker).transpose()?;
        let owned = leases.owned(id, after.as_ref(), limit).await?;
        Ok::<_, CaseFailure>(owned.iter().map(|own| own.worker.to_string()).collect::<Vec<_>>())
    };
    check_eq!(names(None, 10).await?, ["a", "a-1", "a0", "b", "c"]);
    check_eq!(names(None, 2).await?, ["a", "a-1"]);
    check_eq!(names(Some("a-1"), 2).await?, ["a0", "b"]);
    check_eq!(names(Some("c"), 2).await?, [""; 0]);
    Ok(())
}

async fn l6_a_forgotten_worker_belongs_to_nobody(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let leases = store.leases()?;
    let other = cx.another(&store, std::time::Duration::from_secs(3600)).await?;
    let a = worker("a")?;
    store.say(&a, 0, &["1"]).await?;
    store.put(Batch::new().forget(a.clone(), 1)).await?;
    check!(leases.owned(store.lease()?.id, None, 10).await?.is_empty(), "it is still owned");
    other.say(&a, 0, &["again"]).await?;
    check_eq!(leases.owned(other.lease()?.id, None, 10).await?.len(), 1);
    fails_with(ErrorKind::Fenced, store.say(&a, 1, &["2"]).await)?;
    Ok(())
}
