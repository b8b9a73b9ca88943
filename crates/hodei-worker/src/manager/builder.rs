use std::sync::Arc;

use hodei_worker_core::{
    Clock, Error, ErrorKind, Result, WorkerProvider, clock,
    settings::Problems,
    store::{HostId, Store},
};

use super::{
    ManagerSettings, WorkerManager,
    hosts::{self, Hosts},
    keeper::{Care, Keeper, Parts},
    mailbox::mailbox,
    opening,
    watcher::Watcher,
};
use crate::{
    events::EventBus,
    telemetry::{Sampler, Telemetry},
};

/// What a [`WorkerManager`] is made of.
#[derive(Debug)]
pub struct ManagerBuilder {
    store: Arc<dyn Store>,
    providers: Vec<Arc<dyn WorkerProvider>>,
    settings: ManagerSettings,
    clock: Arc<dyn Clock>,
    bus: EventBus,
    telemetry: Telemetry,
}

impl ManagerBuilder {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            providers: Vec::new(),
            settings: ManagerSettings::default(),
            clock: clock::system(),
            bus: EventBus::default(),
            telemetry: Telemetry::default(),
        }
    }
    /// Adds a provider, as [`connect`](crate::connect()) or [`open`](crate::open) gives it. Workers that do not name one go
    /// to the first that can do what they need.
    #[must_use]
    pub fn provider(mut self, provider: Arc<dyn WorkerProvider>) -> Self {
        self.providers.push(provider);
        self
    }
    /// Works like this.
    #[must_use]
    pub fn settings(mut self, settings: ManagerSettings) -> Self {
        self.settings = settings;
        self
    }
    /// With this clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
    /// Tells of events on this bus.
    #[must_use]
    pub fn events(mut self, bus: EventBus) -> Self {
        self.bus = bus;
        self
    }

    /// Measures by this.
    #[must_use]
    pub fn telemetry(mut self, telemetry: Telemetry) -> Self {
        self.telemetry = telemetry;
        self
    }

    /// Reads the log, and begins: hears from the providers, adopts what runs, goes on with what stood out.
    ///
    /// Call it inside a Tokio runtime with a timer.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) when a setting is wrong, there is no provider, or two have the same name;
    /// [`Corrupt`](ErrorKind::Corrupt) when the log does not add up; [`Unsupported`](ErrorKind::Unsupported) when a newer
    /// version wrote it; what the store says when it cannot be read.
    ///
    /// # Cancel safety
    /// When dropped, nothing is lost; where the store has leases, one of this host's may be held until it runs out.
    pub async fn open(self) -> Result<WorkerManager> {
        self.check()?;
        let view = opening::read(&*self.store).await?;
        let sampler = Sampler::new(self.settings.sampling.clone(), &self.telemetry);
        let care = Care::begin(&self.settings, self.telemetry.clone())?;
        let shared = care.shared();
        let settings = Arc::new(self.settings);
        let (sender, inbox) = mailbox(settings.queue);
        let mut watchers = tokio::task::JoinSet::new();
        for provider in &self.providers {
            let watcher = Watcher {
                name: provider.info().name.clone(),
                provider: Arc::clone(provider),
                keeper: sender.downgrade(),
                poll: settings.poll_interval.get(),
            };
            watchers.spawn(watcher.run());
        }
        let mut hold = None;
        if self.store.leases().is_some() {
            let host = settings.host.clone().map_or_else(host_id, Ok)?;
            let hosts = Hosts::new(
                Arc::clone(&self.store),
                host,
                settings.lease.get(),
                Arc::clone(&self.clock),
                self.telemetry.clone(),
                sender.downgrade(),
            );
            let held = hosts.acquire().await?;
            hold = Some(held);
            watchers.spawn(hosts.run(held));
            watchers.spawn(hosts::tail(Arc::clone(&self.store), sender.downgrade(), view.position));
            let (bus, store, after) = (self.bus.clone(), Arc::clone(&self.store), view.position);
            watchers.spawn(async move {
                if let Err(error) = bus.tail(store, after).await {
                    tracing::error!(%error, "events are not told any more");
                }
            });
        }
        let keeper = Keeper::new(Parts {
            store: Arc::clone(&self.store),
            clock: self.clock,
            settings,
            bus: self.bus.clone(),
            inbox,
            providers: self.providers.clone(),
            view,
            watchers,
            care,
            hold,
        });
        tokio::spawn(keeper.run());
        Ok(WorkerManager::new(sender, self.store, self.providers, self.bus, shared, sampler))
    }

    fn check(&self) -> Result<()> {
        let mut problems = Problems::new();
        self.settings.validate(&mut problems);
        problems.into_result()?;
        let mut names: Vec<_> = self.providers.iter().map(|provider| &provider.info().name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("two providers have the name `{}`: workers are found by it", twice[0]);
            return Err(Error::new(ErrorKind::Config, message));
        }
        if names.is_empty() {
            return Err(Error::new(ErrorKind::Config, "a manager needs at least one provider"));
        }
        Ok(())
    }
}

/// A name for a host that has none of its own.
fn host_id() -> Result<HostId> {
    HostId::new(format!("host-{}-{:08x}", std::process::id(), fastrand::u32(..)))
}
