mod bus;
mod replay;

use std::sync::Arc;

use futures::{FutureExt as _, Stream, StreamExt as _};
use hodei_worker_core::{
    WorkerId, WorkerStateEvent,
    store::{Batch, EventStore as _, MemoryStore, StoredEvent},
};

use super::Notice;

fn id(name: &str) -> WorkerId {
    name.parse().unwrap()
}

fn bytes(change: &str) -> bytes::Bytes {
    format!(r#"{{"v":1,"o":"running","n":"running","t":"2026-01-01T00:00:00Z","c":"{change}"}}"#).into()
}

/// An event as if it were stored there.
fn event(position: u64, worker: &str, version: u64) -> Arc<WorkerStateEvent> {
    let stored = StoredEvent::new(position, id(worker), version, bytes("healthy"));
    Arc::new(WorkerStateEvent::from_stored(&stored).unwrap())
}

/// Stores one more event of a worker.
async fn store_one(store: &MemoryStore, worker: &str) -> Arc<WorkerStateEvent> {
    let version = store.read_stream(&id(worker), 0, usize::MAX).await.unwrap().next;
    let batch = Batch::new().append(id(worker), version, [bytes("healthy")]);
    let position = store.append(batch).await.unwrap().last;
    event(position, worker, version + 1)
}

/// What is there to be read without waiting.
fn now<S: Stream + Unpin>(stream: &mut S) -> Vec<S::Item> {
    std::iter::from_fn(|| stream.next().now_or_never().flatten()).collect()
}

fn positions<'a>(notices: impl IntoIterator<Item = &'a Notice>) -> Vec<u64> {
    notices.into_iter().filter_map(Notice::event).map(|event| event.event_id).collect()
}
