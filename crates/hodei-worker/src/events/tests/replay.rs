use std::{sync::Arc, time::Duration};

use hodei_worker_core::{
    Error, ErrorKind, Retry,
    store::{EventStore, Store},
};

use super::*;
use crate::events::{EventBus, EventFilter, EventSettings};

fn arc(store: &MemoryStore) -> Arc<dyn Store> {
    Arc::new(store.clone())
}

async fn take<S: Stream<Item = hodei_worker_core::Result<Notice>> + Unpin>(
    stream: &mut S,
    count: usize,
) -> Vec<Notice> {
    // Time stands still while there is something to do: what does not come is told at once.
    let notices = stream.take(count).map(Result::unwrap).collect();
    tokio::time::timeout(Duration::from_secs(60), notices).await.expect("something does not come")
}

#[tokio::test(start_paused = true)]
async fn l9_a_replay_joins_the_store_and_what_happens() {
    let (store, bus) = (MemoryStore::new(), EventBus::default());
    for _ in 0..1000 {
        store_one(&store, "a").await;
        store_one(&store, "b").await;
    }
    let mut events = bus.replay(arc(&store), 500, EventFilter::worker(id("b")));
    let mut all = bus.replay(arc(&store), 0, EventFilter::all());
    // Happens before anything of the replay was read.
    let early = store_one(&store, "b").await;
    bus.publish(&early);
    let told = take(&mut all, 2001).await;
    assert_eq!(positions(&told), (1..=2001).collect::<Vec<_>>());
    let told = take(&mut events, 751).await;
    let expected: Vec<u64> = (501..=2000).filter(|position| position % 2 == 0).chain([2001]).collect();
    assert_eq!(positions(&told), expected);
    // And goes on, without a double.
    for _ in 0..3 {
        bus.publish(&store_one(&store, "b").await);
    }
    assert_eq!(positions(&take(&mut events, 3).await), [2002, 2003, 2004]);
    assert_eq!(positions(&take(&mut all, 3).await), [2002, 2003, 2004]);
    drop(bus);
    assert!(events.next().await.is_none() && all.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn l9_a_replay_goes_on_by_itself_after_what_it_missed() {
    let store = MemoryStore::new();
    let bus = EventBus::new(EventSettings { buffer: 2 });
    let mut all = bus.replay(arc(&store), 0, EventFilter::all());
    let mut one = bus.replay(arc(&store), 0, EventFilter::worker(id("a")));
    for round in 0..5 {
        for worker in ["a", "b", "a", "a", "a"] {
            bus.publish(&store_one(&store, worker).await);
        }
        let expected: Vec<u64> = (round * 5 + 1..=round * 5 + 5).collect();
        assert_eq!(positions(&take(&mut all, 5).await), expected);
        let of_a: Vec<u64> = expected.into_iter().filter(|position| position % 5 != 2).collect();
        assert_eq!(positions(&take(&mut one, 4).await), of_a);
    }
}

/// Tasks of different workers publish in any order; one was dropped before it came to that.
#[tokio::test(start_paused = true)]
async fn l9_a_replay_is_in_the_logs_order_whatever_the_bus_does() {
    let (store, bus) = (MemoryStore::new(), EventBus::default());
    let mut all = bus.replay(arc(&store), 0, EventFilter::all());
    let (first, _lost) = (store_one(&store, "a").await, store_one(&store, "b").await);
    let third = store_one(&store, "c").await;
    bus.publish(&third);
    bus.publish(&first);
    assert_eq!(positions(&take(&mut all, 3).await), [1, 2, 3]);
    let _lost = store_one(&store, "a").await;
    assert_eq!(positions(&take(&mut all, 1).await), [4], "told by the store alone");
}

#[tokio::test(start_paused = true)]
async fn l9_what_is_compacted_away_is_said() {
    let (store, bus) = (MemoryStore::new(), EventBus::default());
    for worker in ["a", "b", "a", "b", "a"] {
        store_one(&store, worker).await;
    }
    store.append(Batch::new().save(id("a"), 2, "…").save(id("b"), 1, "…")).await.unwrap();
    store.compact(3).await.unwrap();

    let mut all = bus.replay(arc(&store), 0, EventFilter::all());
    let told = take(&mut all, 3).await;
    assert_eq!((&told[0], positions(&told)), (&Notice::Compacted { first: 4 }, vec![4, 5]));
    let mut one = bus.replay(arc(&store), 0, EventFilter::worker(id("a")));
    let told = take(&mut one, 2).await;
    assert_eq!((&told[0], positions(&told)), (&Notice::Compacted { first: 5 }, vec![5]));
    // Nothing of what these asked for is gone.
    let mut all = bus.replay(arc(&store), 3, EventFilter::all());
    assert_eq!(positions(&take(&mut all, 2).await), [4, 5]);
    let mut one = bus.replay(arc(&store), 3, EventFilter::worker(id("a")));
    assert_eq!(positions(&take(&mut one, 1).await), [5]);
}

#[tokio::test(start_paused = true)]
async fn l9_a_worker_that_was_made_anew_goes_on_in_its_replay() {
    let (store, bus) = (MemoryStore::new(), EventBus::default());
    let mut one = bus.replay(arc(&store), 0, EventFilter::worker(id("a")));
    bus.publish(&store_one(&store, "a").await);
    bus.publish(&store_one(&store, "a").await);
    assert_eq!(positions(&take(&mut one, 2).await), [1, 2]);
    store.append(Batch::new().forget(id("a"), 2)).await.unwrap();
    bus.publish(&store_one(&store, "a").await);
    let told = take(&mut one, 1).await;
    assert_eq!((positions(&told), told[0].event().unwrap().version), (vec![3], 1));
    bus.publish(&store_one(&store, "a").await);
    assert_eq!(positions(&take(&mut one, 1).await), [4]);
}

#[tokio::test(start_paused = true)]
async fn l9_an_event_that_cannot_be_understood_is_told_in_its_place() {
    let (store, bus) = (MemoryStore::new(), EventBus::default());
    let tail = tokio::spawn({
        let (bus, store) = (bus.clone(), arc(&store));
        async move { bus.tail(store, 0).await }
    });
    let mut live = bus.subscribe(EventFilter::all());
    tokio::task::yield_now().await;
    store_one(&store, "a").await;
    store.append(Batch::new().append(id("b"), 0, ["nonsense".into()])).await.unwrap();
    store_one(&store, "a").await;
    let mut all = bus.replay(arc(&store), 0, EventFilter::all());
    assert_eq!(positions(&take(&mut all, 1).await), [1]);
    let error = all.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.context_value("position")), (ErrorKind::Corrupt, Some("2")));
    assert_eq!(positions(&take(&mut all, 1).await), [3]);
    let mut one = bus.replay(arc(&store), 0, EventFilter::worker(id("b")));
    assert_eq!(one.next().await.unwrap().unwrap_err().kind(), ErrorKind::Corrupt);
    // Who hears of what happens now hears of the rest.
    let told: Vec<_> = (&mut live).take(2).collect().await;
    assert_eq!(positions(&told), [1, 3]);
    tail.abort();
}

#[tokio::test(start_paused = true)]
async fn l9_a_store_that_comes_back_is_read_on() {
    let store = Arc::new(Flaky::default());
    for _ in 0..3 {
        store_one(&store.store, "a").await;
    }
    let bus = EventBus::default();
    let mut all = bus.replay(Arc::<Flaky>::clone(&store), 1, EventFilter::all());
    store.fails.store(2, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(all.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(all.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(positions(&take(&mut all, 2).await), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn l9_a_tail_tells_what_other_hosts_wrote_in_the_logs_order() {
    let (store, bus) = (MemoryStore::new(), EventBus::default());
    let tail = tokio::spawn({
        let (bus, store) = (bus.clone(), arc(&store));
        async move { bus.tail(store, 0).await }
    });
    let mut news = bus.subscribe(EventFilter::all());
    tokio::task::yield_now().await;
    let (first, second) = (store_one(&store, "a").await, store_one(&store, "b").await);
    // One's own are told once.
    bus.publish(&second);
    bus.publish(&first);
    let told: Vec<_> = (&mut news).take(2).collect().await;
    assert_eq!(positions(&told), [1, 2]);
    tail.abort();
    let _ = tail.await;
    bus.publish(&store_one(&store, "a").await);
    assert_eq!(positions(&now(&mut news)), [3]);
}

/// A store that is lost for some reads.
#[derive(Debug, Default)]
struct Flaky {
    store: MemoryStore,
    fails: std::sync::atomic::AtomicU32,
}

#[async_trait::async_trait]
impl EventStore for Flaky {
    fn info(&self) -> &hodei_worker_core::store::StoreInfo {
        self.store.info()
    }
    async fn append(&self, batch: Batch) -> hodei_worker_core::Result<hodei_worker_core::store::Appended> {
        self.store.append(batch).await
    }
    async fn read(
        &self,
        after: u64,
        limit: usize,
    ) -> hodei_worker_core::Result<hodei_worker_core::store::Page> {
        use std::sync::atomic::Ordering::Relaxed;
        if self.fails.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            let error = Error::new(ErrorKind::Unavailable, "the store is lost");
            return Err(error.with_retry(Retry::Safe { after: Some(Duration::ZERO) }));
        }
        self.store.read(after, limit).await
    }
    async fn read_stream(
        &self,
        worker: &WorkerId,
        after: u64,
        limit: usize,
    ) -> hodei_worker_core::Result<hodei_worker_core::store::Page> {
        self.store.read_stream(worker, after, limit).await
    }
    async fn last_position(&self) -> hodei_worker_core::Result<u64> {
        self.store.last_position().await
    }
    async fn changed(&self, after: u64) -> hodei_worker_core::Result<()> {
        self.store.changed(after).await
    }
    async fn snapshots(
        &self,
        after: Option<&WorkerId>,
        limit: usize,
    ) -> hodei_worker_core::Result<Vec<hodei_worker_core::store::WorkerSnapshot>> {
        self.store.snapshots(after, limit).await
    }
    async fn compact(&self, through: u64) -> hodei_worker_core::Result<hodei_worker_core::store::Compaction> {
        self.store.compact(through).await
    }
}

#[async_trait::async_trait]
impl hodei_worker_core::store::StateStore for Flaky {
    async fn get(
        &self,
        key: &str,
    ) -> hodei_worker_core::Result<Option<hodei_worker_core::store::StateValue>> {
        self.store.get(key).await
    }
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> hodei_worker_core::Result<Vec<hodei_worker_core::store::StateEntry>> {
        self.store.list(prefix, after, limit).await
    }
    async fn write(&self, batch: Batch) -> hodei_worker_core::Result<()> {
        self.store.write(batch).await
    }
}

impl Store for Flaky {}

/// Published late, in any order or never, to buffers that are too small, read whenever: each event comes once, in the
/// log's order.
#[tokio::test(start_paused = true)]
async fn l9_no_gap_and_no_double_whatever_happens_in_between() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let store = MemoryStore::new();
        let bus = EventBus::new(EventSettings { buffer: random.usize(1..5) });
        for _ in 0..random.usize(..20) {
            store_one(&store, if random.bool() { "a" } else { "b" }).await;
        }
        let after = random.u64(..=store.last_position().await.unwrap());
        let mut all = bus.replay(arc(&store), after, EventFilter::all());
        let mut one = bus.replay(arc(&store), after, EventFilter::worker(id("a")));
        let (mut seen, mut seen_one, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..60 {
            match random.u8(..5) {
                0 | 1 => held.push(store_one(&store, if random.bool() { "a" } else { "b" }).await),
                2 | 3 if !held.is_empty() => {
                    let event = held.swap_remove(random.usize(..held.len()));
                    if random.u8(..8) > 0 {
                        bus.publish(&event);
                    }
                }
                _ => {
                    seen.extend(now(&mut all).into_iter().map(Result::unwrap));
                    seen_one.extend(now(&mut one).into_iter().map(Result::unwrap));
                }
            }
        }
        held.into_iter().for_each(|event| bus.publish(&event));
        let last = store_one(&store, "a").await;
        bus.publish(&last);
        let count = (last.event_id - after) as usize - seen.len();
        seen.extend(take(&mut all, count).await);
        assert_eq!(positions(&seen), (after + 1..=last.event_id).collect::<Vec<_>>(), "seed {seed}");
        let of_a = store.read_stream(&id("a"), 0, 1000).await.unwrap().events;
        let of_a: Vec<_> =
            of_a.iter().map(|stored| stored.position).filter(|position| *position > after).collect();
        seen_one.extend(take(&mut one, of_a.len() - seen_one.len()).await);
        assert_eq!(positions(&seen_one), of_a, "seed {seed}");
    }
}
