//! The watch: the kernel says which worker has changed, and that one is looked at.

use std::{collections::BTreeSet, sync::Arc};

use hodei_worker_core::{
    Error, Result, WorkerObservation,
    provider::{BoxStream, Operation, WatchOptions, WorkerFilter},
    status::Gone,
    watch::WatchFeed,
};

use crate::{
    host::{Host, blocking},
    layout::parse_worker_name,
    notices::Changed,
};

impl Host {
    pub(crate) fn watch(
        self: &Arc<Self>,
        options: &WatchOptions,
    ) -> BoxStream<'static, Result<WorkerObservation>> {
        let host = Arc::clone(self);
        self.hub.subscribe(options.filter.clone(), move |feed| async move {
            let error = match host.feed(&feed).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            error.with_operation(Operation::Watch).with_provider(&host.info)
        })
    }

    /// Feeds the hub until something fails.
    async fn feed(self: &Arc<Self>, feed: &WatchFeed) -> Result<std::convert::Infallible, Error> {
        let dirty = self.notices.of_all();
        self.resync(feed).await?;
        loop {
            self.notices.check()?;
            match dirty.next().await {
                Changed::Anything => self.resync(feed).await?,
                Changed::Workers(names) => self.look_at(feed, names).await?,
            }
        }
    }

    async fn resync(self: &Arc<Self>, feed: &WatchFeed) -> Result<()> {
        let (host, reading) = (Arc::clone(self), feed.reading());
        let listing = blocking(move || host.list(&WorkerFilter::all())).await?;
        feed.resync_as_of(reading, listing.workers);
        Ok(())
    }

    async fn look_at(self: &Arc<Self>, feed: &WatchFeed, names: BTreeSet<String>) -> Result<()> {
        let host = Arc::clone(self);
        let reading = feed.reading();
        let statuses = blocking(move || {
            let workers = names.iter().filter_map(|name| parse_worker_name(name));
            workers
                .map(|worker| {
                    let now = host.clock.now();
                    host.status(&worker).map(|status| (worker, now, status))
                })
                .collect::<Result<Vec<_>>>()
        })
        .await?;
        for (worker, now, status) in statuses {
            match status {
                Some(status) => feed.apply_as_of(&reading, status),
                None => feed.gone_as_of(&reading, Gone::new(worker, "", now)),
            }
        }
        Ok(())
    }
}
