//! What the tests of several modules need.

use hodei_worker_core::{Timestamp, WorkerId, WorkerStateEvent, store::StoredEvent};
use serde_json::{Value, json};

pub(crate) fn id(name: &str) -> WorkerId {
    name.parse().unwrap()
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
}

/// The events of one worker: state after, milliseconds, change.
pub(crate) fn events(
    worker: &str,
    steps: impl IntoIterator<Item = (&'static str, i64, Value)>,
) -> Vec<WorkerStateEvent> {
    let mut before = Value::Null;
    let steps = steps.into_iter().zip(1..);
    let event = |((state, millis, change), version): ((&str, i64, Value), u64)| {
        let state = if state.is_empty() { Value::Null } else { state.into() };
        let record = json!({"v": 1, "o": before, "n": state, "t": at(millis), "c": change});
        before = state;
        let stored = StoredEvent::new(version, id(worker), version, record.to_string().into());
        WorkerStateEvent::from_stored(&stored).unwrap()
    };
    steps.map(event).collect()
}
