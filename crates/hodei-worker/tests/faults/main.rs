//! The manager where what it stands on goes wrong: a provider that answers late, twice, out of order or never, a store that
//! fails, a log that was damaged. On the fake provider and with paused time.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod aside;
mod bed;
mod care;
mod load;
#[cfg(feature = "redb")]
mod log;
mod provider;
mod repeater;
mod store;
mod strays;
mod weak;
