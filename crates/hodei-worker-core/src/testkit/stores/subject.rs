use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{error::Result, store::Store};

/// A store under test: what the behaviour suite has to know of it beside the ports.
#[async_trait]
pub trait StoreSubject: Send + Sync + 'static {
    /// Its name in reports, such as `redb`.
    fn name(&self) -> String;

    /// A place for a new store: each case has one of its own.
    ///
    /// # Errors
    /// Where it cannot be made: that fails the case, it never skips it.
    async fn place(&self) -> Result<Arc<dyn StorePlace>>;
}

/// Where one store is. Dropping it may remove the store.
#[async_trait]
pub trait StorePlace: Send + Sync + 'static {
    /// Opens the store: an empty one at first, later the same. A store that is not shared is opened again when all that
    /// held it was dropped; a shared one may be open several times, each as another host has it. One that is not durable
    /// may be a new one each time, unless it is shared.
    ///
    /// # Errors
    /// Where it cannot be opened: that fails the case.
    async fn open(&self) -> Result<Arc<dyn Store>>;

    /// Moves the store's own clock on, where that can be done. Otherwise the cases wait until the time has passed.
    async fn pass(&self, time: Duration) {
        let _ = time;
    }

    /// The time that leases of the suite are given: long enough for a slow machine to do a few calls in it. Default: 2 s.
    fn lease_time(&self) -> Duration {
        Duration::from_secs(2)
    }
}
