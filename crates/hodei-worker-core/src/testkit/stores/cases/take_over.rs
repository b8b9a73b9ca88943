use std::{collections::BTreeSet, time::Duration};

use super::{CaseResult, StoreContext, cases, check, check_eq, event, fails_with, worker};
use crate::{error::ErrorKind, store::Batch};

cases! {
    l6_a_lease_that_holds_is_not_taken_over;
    l6_workers_of_an_ended_lease_are_taken_over;
    l6_a_stream_that_is_taken_over_is_told_from_an_earlier_one_of_its_name;
    l6_who_was_taken_over_is_fenced_for_good;
    l6_workers_are_taken_over_in_parts;
    l6_those_who_race_to_take_over_share;
    l6_a_lease_that_ended_takes_nothing_over;
}

const LONG: Duration = Duration::from_secs(3600);

async fn l6_a_lease_that_holds_is_not_taken_over(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let other = cx.another(&store, LONG).await?;
    let a = worker("a")?;
    store.say(&a, 0, &["1"]).await?;
    let (own, theirs) = (store.lease()?.id, other.lease()?.id);
    fails_with(ErrorKind::Conflict, other.leases()?.take_over(theirs, own, 10).await)?;
    store.say(&a, 1, &["2"]).await?;
    Ok(())
}

async fn l6_workers_of_an_ended_lease_are_taken_over(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let other = cx.another(&store, LONG).await?;
    let (a, b) = (worker("a")?, worker("b")?);
    store.say(&a, 0, &["1", "2"]).await?;
    store.say(&b, 0, &["1"]).await?;
    let (own, theirs) = (store.lease()?.id, other.lease()?.id);
    let before = store.leases()?.owned(own, None, 10).await?;
    store.leases()?.release(own).await?;
    let leases = other.leases()?;
    let taken = leases.take_over(theirs, own, 10).await?;
    let seen: BTreeSet<_> = taken.iter().map(|taken| (taken.worker.as_str(), taken.version)).collect();
    check_eq!(seen, BTreeSet::from([("a", 2), ("b", 1)]));
    for taken in &taken {
        let was = before.iter().find(|owned| owned.worker == taken.worker);
        check_eq!(Some(taken.owner_epoch), was.map(|owned| owned.owner_epoch + 1));
    }
    check_eq!(leases.owned(theirs, None, 10).await?.len(), 2);
    check!(leases.ended().await?.is_empty(), "it owns nothing any more");
    check!(leases.take_over(theirs, own, 10).await?.is_empty(), "nothing is left to take");
    other.say(&a, 2, &["3"]).await?;
    Ok(())
}

async fn l6_a_stream_that_is_taken_over_is_told_from_an_earlier_one_of_its_name(
    cx: StoreContext,
) -> CaseResult {
    let store = cx.open().await?;
    let other = cx.another(&store, LONG).await?;
    let a = worker("a")?;
    let first = store.say(&a, 0, &["1", "2"]).await?.first;
    let own = store.lease()?.id;
    let owned = store.leases()?.owned(own, None, 10).await?;
    check_eq!(owned.first().map(|owned| owned.first), first.first().copied());
    store.put(Batch::new().forget(a.clone(), 2)).await?;
    // The versions say the same as before.
    let second = store.say(&a, 0, &["1", "2"]).await?.first;
    check!(second > first, "{second:?} after {first:?}");
    store.leases()?.release(own).await?;
    let taken = other.leases()?.take_over(other.lease()?.id, own, 10).await?;
    let seen: Vec<_> = taken.iter().map(|taken| (taken.version, Some(taken.first))).collect();
    check_eq!(seen, [(2, second.first().copied())]);
    Ok(())
}

async fn l6_who_was_taken_over_is_fenced_for_good(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let other = cx.another(&store, LONG).await?;
    let a = worker("a")?;
    store.say(&a, 0, &["1"]).await?;
    let own = store.lease()?.id;
    store.leases()?.release(own).await?;
    other.leases()?.take_over(other.lease()?.id, own, 10).await?;
    for late in [Batch::new().append(a.clone(), 1, [event("late")]), Batch::new().save(a.clone(), 1, "late")]
    {
        fails_with(ErrorKind::Fenced, store.put(late).await)?;
    }
    fails_with(ErrorKind::Fenced, store.say(&worker("new")?, 0, &["1"]).await)?;
    fails_with(ErrorKind::Fenced, store.leases()?.renew(own).await)?;
    check_eq!(other.whole_log(10).await?.len(), 1);
    Ok(())
}

async fn l6_workers_are_taken_over_in_parts(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let other = cx.another(&store, LONG).await?;
    for n in 0..5 {
        store.say(&worker(&format!("w{n}"))?, 0, &["1"]).await?;
    }
    let (own, theirs) = (store.lease()?.id, other.lease()?.id);
    store.leases()?.release(own).await?;
    let leases = other.leases()?;
    let mut taken = BTreeSet::new();
    for expected in [2, 2, 1, 0] {
        let part = leases.take_over(theirs, own, 2).await?;
        check_eq!(part.len(), expected);
        taken.extend(part.into_iter().map(|taken| taken.worker));
        check_eq!(leases.ended().await?.is_empty(), taken.len() == 5);
    }
    check_eq!(taken.len(), 5);
    Ok(())
}

async fn l6_those_who_race_to_take_over_share(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let (one, two) = (cx.another(&store, LONG).await?, cx.another(&store, LONG).await?);
    for n in 0..20 {
        store.say(&worker(&format!("w{n}"))?, 0, &["1"]).await?;
    }
    let own = store.lease()?.id;
    store.leases()?.release(own).await?;
    let all = async |hand: &super::Hand| {
        let (leases, lease) = (hand.leases()?, hand.lease()?.id);
        let mut taken = Vec::new();
        while leases.ended().await?.contains(&own) {
            taken.extend(leases.take_over(lease, own, 3).await?.into_iter().map(|taken| taken.worker));
        }
        Ok::<_, super::CaseFailure>(taken)
    };
    let (first, second) = futures::join!(all(&one), all(&two));
    let (first, second) = (first?, second?);
    let both: BTreeSet<_> = first.iter().chain(&second).collect();
    check_eq!((both.len(), first.len() + second.len()), (20, 20));
    for (hand, taken) in [(&one, &first), (&two, &second)] {
        for worker in taken {
            hand.say(worker, 1, &["2"]).await?;
        }
    }
    Ok(())
}

async fn l6_a_lease_that_ended_takes_nothing_over(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let other = cx.another(&store, LONG).await?;
    store.say(&worker("a")?, 0, &["1"]).await?;
    let (own, theirs) = (store.lease()?.id, other.lease()?.id);
    store.leases()?.release(own).await?;
    store.leases()?.release(theirs).await?;
    fails_with(ErrorKind::Fenced, other.leases()?.take_over(theirs, own, 10).await)?;
    check_eq!(store.leases()?.owned(own, None, 10).await?.len(), 1);
    Ok(())
}
