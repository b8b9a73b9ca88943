//! The one watch on the installation's pods, which all who watch share. Nothing is asked while nothing changes.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use hodei_worker_core::{
    Error, Result, WorkerObservation, WorkerPhase,
    provider::{BoxStream, WorkerFilter},
    status::Gone,
    watch::WatchFeed,
};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};

use crate::{
    client::Failed,
    names,
    pod::PAGE,
    provider::Shared,
    status::{is_gated, run, uid},
};

/// Between two attempts to reach the API server again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Shared {
    pub(crate) fn watch(
        self: &Arc<Self>,
        filter: &WorkerFilter,
    ) -> BoxStream<'static, Result<WorkerObservation>> {
        let shared = Arc::clone(self);
        self.hub.subscribe(filter.clone(), |feed| async move { shared.drive(feed).await })
    }

    /// Reads what the API server tells until nobody watches any more. Each pod is reduced to its status as it comes in.
    async fn drive(self: Arc<Self>, feed: WatchFeed) -> Error {
        let selector = names::selector(&self.view.installation, &WorkerFilter::all());
        let config = watcher::Config::default().labels(&selector).page_size(PAGE);
        let from_the_beginning = || watcher::watcher(self.cluster.pods(), config.clone()).boxed();
        let mut events = from_the_beginning();
        let mut listed = Vec::new();
        let mut reading = feed.reading();
        let mut pause = FIRST_PAUSE;
        while let Some(event) = events.next().await {
            let as_of = self.context.clock.now();
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    let error = self.cluster.error(failed(error));
                    // Nobody is told anything by trying again what may not be done.
                    if error.kind() == hodei_worker_core::ErrorKind::PermissionDenied {
                        return error;
                    }
                    feed.lost(&error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    // Going on from where it was cut would tell what is new, and never that all is known again.
                    events = from_the_beginning();
                    continue;
                }
            };
            match event {
                Event::Init => {
                    listed.clear();
                    reading = feed.reading();
                }
                Event::InitApply(pod) => listed.extend(self.view.status(&pod, as_of).map(Arc::new)),
                Event::InitDone => {
                    pause = FIRST_PAUSE;
                    feed.resync_as_of(&reading, std::mem::take(&mut listed));
                }
                Event::Apply(pod) => {
                    pause = FIRST_PAUSE;
                    if let Some(status) = self.view.status(&pod, as_of) {
                        feed.apply(Arc::new(status));
                    }
                }
                Event::Delete(pod) => {
                    let Some(status) = self.view.status(&pod, as_of) else { continue };
                    let mut gone = Gone::new(status.worker.clone(), uid(&pod), as_of);
                    gone.run = (!is_gated(&pod)).then(|| run(&pod));
                    // How it ended may not have been told before.
                    if status.phase == WorkerPhase::Exited {
                        feed.apply(Arc::new(status));
                    }
                    feed.gone(gone);
                }
            }
        }
        Error::new(hodei_worker_core::ErrorKind::Unexpected, "the watch on the cluster's pods ended")
    }
}

pub(crate) fn failed(error: watcher::Error) -> Failed {
    Failed::Kube(match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        watcher::Error::NoResourceVersion => {
            let status = kube::core::Status::failure("the list has no version", "InternalError");
            kube::Error::Api(status.with_code(500).boxed())
        }
    })
}

/// What the API server answered to a change of ours, told to those who watch.
impl Shared {
    pub(crate) fn told(&self, reading: &hodei_worker_core::watch::Reading, pod: &Pod) {
        if let Some(status) = self.view.status(pod, self.context.clock.now()) {
            self.hub.saw(reading, status);
        }
    }
}
