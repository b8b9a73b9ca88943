use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{StorePlace, StoreSubject};
use crate::{
    error::Result,
    store::{MemoryStore, Store},
    testkit::ManualClock,
};

/// [`MemoryStore`] under test.
#[derive(Debug)]
pub struct MemorySubject {
    shared: bool,
}

impl MemorySubject {
    /// For one host.
    pub const fn alone() -> Self {
        Self { shared: false }
    }
    /// Shared by several hosts, with leases.
    pub const fn shared() -> Self {
        Self { shared: true }
    }
}

#[async_trait]
impl StoreSubject for MemorySubject {
    fn name(&self) -> String {
        if self.shared { "memory-shared" } else { "memory" }.to_owned()
    }
    async fn place(&self) -> Result<Arc<dyn StorePlace>> {
        let clock = Arc::new(ManualClock::default());
        let store = match self.shared {
            true => MemoryStore::shared(Arc::clone(&clock) as _),
            false => MemoryStore::new(),
        };
        Ok(Arc::new(Memory { clock, store }))
    }
}

struct Memory {
    clock: Arc<ManualClock>,
    store: MemoryStore,
}

#[async_trait]
impl StorePlace for Memory {
    async fn open(&self) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(self.store.clone()))
    }
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}
