//! A worker's output as a stream.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt as _, stream};
use hodei_worker_core::{
    Error, Result, WorkerRef,
    provider::{BoxStream, LogItem, LogOptions, Operation},
};
use tokio::sync::Notify;

use super::read::LogReader;
use crate::{
    error, files,
    host::{Host, blocking},
    layout::Creation,
    notices::Topic,
};

struct Following {
    host: Arc<Host>,
    creation: Creation,
    follow: bool,
    reader: Option<LogReader>,
    ready: VecDeque<LogItem>,
    /// Both registered before the first look, so that nothing is missed between a look and a wait.
    worker: Topic,
    folder: Option<Arc<Notify>>,
    ended: bool,
}

impl Host {
    pub(crate) async fn read_logs(
        self: &Arc<Self>,
        worker: &WorkerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        let changes = self.notices.of_worker(&Self::topic(worker));
        let stored = self.stored(worker)?.ok_or_else(|| Error::worker_not_found(worker))?;
        let creation = stored.creation();
        let (folder, wanted, nonce) = (self.log_folder(&creation), options.clone(), creation.nonce.clone());
        let reader = blocking(move || {
            LogReader::open(folder.clone(), wanted)
                .map_err(|error| error::file("opening a worker's log", &folder, error))?
                .of(&nonce)
        })
        .await?;
        let following = Following {
            host: Arc::clone(self),
            creation,
            follow: options.follow,
            reader: Some(reader),
            ready: VecDeque::new(),
            worker: changes,
            folder: None,
            ended: false,
        };
        let items = stream::try_unfold(following, |mut following| async move {
            let item = following.next().await.map_err(|error| following.describe(error))?;
            Ok(item.map(|item| (item, following)))
        });
        Ok(items.boxed())
    }
}

impl Following {
    fn describe(&self, error: Error) -> Error {
        error
            .with_operation(Operation::Logs)
            .with_provider(&self.host.info)
            .with_worker(&self.creation.worker)
    }

    async fn next(&mut self) -> Result<Option<LogItem>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            if self.ended {
                return Ok(None);
            }
            let exists = !self.follow || self.look()?;
            if self.read().await? {
                continue;
            }
            if !self.follow || !exists {
                self.ended = true;
                continue;
            }
            let folder = self.folder.clone();
            let written = async {
                match &folder {
                    Some(folder) => folder.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.worker.changed() => changed?,
                () = written => {}
            }
        }
    }

    /// Whether the worker still exists. Begins to watch its folder when that is there.
    fn look(&mut self) -> Result<bool> {
        if !self.exists()? {
            return Ok(false);
        }
        if self.folder.is_none() {
            let path = self.host.log_folder(&self.creation);
            let failed = |error| error::file("watching a worker's log", &path, error);
            // It comes with the first output otherwise, of which nobody would tell.
            super::make_folder(&path).map_err(failed)?;
            self.folder = files::absent(self.host.notices.of_folder(&path)).map_err(failed)?;
            if !self.exists()? {
                // Deleted meanwhile, and its folder perhaps before we made it.
                let _ = std::fs::remove_dir(&path);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn exists(&self) -> Result<bool> {
        let stored = self.host.stored(&self.creation.worker)?;
        Ok(stored.is_some_and(|stored| stored.nonce == self.creation.nonce))
    }

    /// Whether there was something to read.
    async fn read(&mut self) -> Result<bool> {
        // It is gone only when an earlier call was dropped in the middle; then the files are read no further.
        let Some(mut reader) = self.reader.take() else { return Ok(false) };
        let path = self.host.log_folder(&self.creation);
        let (items, reader) = blocking(move || {
            let items = reader.next().map_err(|error| error::file("reading a worker's log", &path, error))?;
            Ok((items, reader))
        })
        .await?;
        self.reader = Some(reader);
        self.ready.extend(items);
        Ok(!self.ready.is_empty())
    }
}
