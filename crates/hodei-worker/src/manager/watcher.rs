//! One task per provider that hears what changes there, and asks where nobody tells.

use std::{sync::Arc, time::Duration};

use super::{mailbox, message::Message};
use futures::StreamExt as _;
use hodei_worker_core::{
    Capability, Error, ErrorKind, Result, WorkerObservation, WorkerProvider,
    error::ErrorReport,
    model::ProviderName,
    provider::{WatchOptions, WorkerFilter},
};

/// The pause after a watch that ended; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Watcher {
    pub(super) name: ProviderName,
    pub(super) provider: Arc<dyn WorkerProvider>,
    pub(super) keeper: mailbox::WeakSender,
    pub(super) poll: Duration,
}

/// The keeper is gone.
struct Over;

impl Watcher {
    /// Hears until the keeper is gone.
    pub(super) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let heard = match self.hear(&mut pause).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error),
                Err(Over) => return,
            };
            let error = heard.unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "the watch ended"));
            tracing::debug!(provider = %self.name, %error, "the watch ended; it is opened again");
            if self.tell(WorkerObservation::Unsynced(Arc::new(ErrorReport::from(&error)))).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn hear(&self, pause: &mut Duration) -> Result<Result<()>, Over> {
        let capabilities = match self.provider.get_capabilities().await {
            Ok(capabilities) => capabilities,
            Err(error) => return Ok(Err(error)),
        };
        let can_watch = capabilities.supports(Capability::Watch);
        self.send(Message::Capabilities(self.name.clone(), capabilities)).await?;
        if can_watch { self.watch(pause).await } else { self.poll(pause).await }
    }

    async fn watch(&self, pause: &mut Duration) -> Result<Result<()>, Over> {
        let mut changes = match self.provider.watch_workers(&WatchOptions::default()).await {
            Ok(changes) => changes,
            Err(error) => return Ok(Err(error)),
        };
        while let Some(change) = changes.next().await {
            match change {
                Ok(observation) => {
                    if matches!(observation, WorkerObservation::Synced) {
                        *pause = FIRST_PAUSE;
                    }
                    self.tell(observation).await?;
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// One listing per interval, in the brackets of a watch.
    async fn poll(&self, pause: &mut Duration) -> Result<Result<()>, Over> {
        loop {
            let listing = match self.provider.list_workers(&WorkerFilter::all()).await {
                Ok(listing) => listing,
                Err(error) => return Ok(Err(error)),
            };
            *pause = FIRST_PAUSE;
            self.tell(WorkerObservation::Resync).await?;
            for status in listing.workers {
                self.tell(WorkerObservation::Listed(status)).await?;
            }
            self.tell(WorkerObservation::Synced).await?;
            tokio::time::sleep(self.poll).await;
        }
    }

    async fn tell(&self, observation: WorkerObservation) -> Result<(), Over> {
        self.send(Message::Observed(self.name.clone(), observation)).await
    }

    async fn send(&self, message: Message) -> Result<(), Over> {
        self.keeper.send(message).await.map_err(|_| Over)
    }
}
