use futures::{StreamExt as _, stream};

use super::platform::{FakePlatform, Key};
use crate::{
    error::{Error, ErrorKind, Result},
    provider::{BoxStream, LogChunk, LogItem, LogOptions, LogPosition},
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
) -> Result<BoxStream<'static, Result<LogItem>>> {
    let changes = platform.changes();
    let position = match &options.after {
        Some(after) => place(after, &native_id)?,
        None => options.tail.map_or(0, |tail| tail_start(&platform, &key, &options, tail)),
    };
    let reader = Reader { platform, key, native_id, options, position, changes };
    let items = stream::unfold(reader, |mut reader| async move {
        Some((Ok(LogItem::Chunk(reader.next().await?)), reader))
    });
    Ok(items.boxed())
}

/// How many chunks come before it, if it is a position in that object's log.
fn place(position: &LogPosition, native_id: &str) -> Result<usize> {
    let (whose, count) = position.as_str().rsplit_once(':').unwrap_or_default();
    let count = count.parse().map_err(|_| Error::config("after", "it is no position of this provider"))?;
    if whose == native_id {
        Ok(count)
    } else {
        Err(Error::new(ErrorKind::Conflict, "it is a position in another worker's log"))
    }
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
                    let since = self.options.since.filter(|_| self.options.after.is_none());
                    if self.options.wants(chunk.stream) && since.is_none_or(|since| chunk.time >= since) {
                        let mut chunk = chunk.clone();
                        if self.options.positions {
                            let position = format!("{}:{}", self.native_id, self.position);
                            chunk.position = Some(LogPosition::new(position));
                        }
                        return Some(chunk);
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
