use futures::{StreamExt as _, stream};

use super::platform::{FakePlatform, Key};
use crate::{
    error::Result,
    provider::{BoxStream, LogChunk, LogItem, LogOptions},
};

/// A reader of a worker's log: where it stands.
struct Reader {
    platform: FakePlatform,
    key: Key,
    native_id: String,
    options: LogOptions,
    position: usize,
    changes: tokio::sync::watch::Receiver<u64>,
}

pub(super) fn open(
    platform: FakePlatform,
    key: Key,
    native_id: String,
    options: LogOptions,
) -> BoxStream<'static, Result<LogItem>> {
    let changes = platform.changes();
    let position = options.tail.map_or(0, |tail| tail_start(&platform, &key, &options, tail));
    let reader = Reader { platform, key, native_id, options, position, changes };
    stream::unfold(
        reader,
        |mut reader| async move { Some((Ok(LogItem::Chunk(reader.next().await?)), reader)) },
    )
    .boxed()
}

fn tail_start(platform: &FakePlatform, key: &Key, options: &LogOptions, tail: u64) -> usize {
    let state = platform.state();
    let Some(object) = state.objects.get(key) else { return 0 };
    let mut left = tail;
    let mut start = object.log.len();
    for (n, chunk) in object.log.iter().enumerate().rev() {
        if !options.wants(chunk.stream) {
            continue;
        }
        let ends_line = chunk.bytes.ends_with(b"\n") || start == object.log.len();
        if ends_line && left == 0 {
            break;
        }
        left -= u64::from(ends_line);
        start = n;
    }
    start
}

impl Reader {
    async fn next(&mut self) -> Option<LogChunk> {
        loop {
            self.changes.borrow_and_update();
            {
                let state = self.platform.state();
                let object =
                    state.objects.get(&self.key).filter(|object| object.native_id == self.native_id)?;
                while let Some(chunk) = object.log.get(self.position) {
                    self.position += 1;
                    if self.options.wants(chunk.stream)
                        && self.options.since.is_none_or(|since| chunk.time >= since)
                    {
                        return Some(chunk.clone());
                    }
                }
            }
            if !self.options.follow {
                return None;
            }
            self.changes.changed().await.ok()?;
        }
    }
}
