//! The vocabulary of hodei-worker: what a worker is, the port that every provider implements, the errors that
//! all of them speak, the policies that stand around each call, and the behaviour suite that proves them.
//!
//! Host applications depend on `hodei-worker`, which re-exports all of this. Depend on this crate alone to write
//! a provider of your own: implement [`WorkerProvider`] and [`ProviderSettings`], and run
//! `testkit::run` (feature `testkit`) against it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`model`] | identifiers, the one `WorkerConfig`, templates of defaults, ownership marks |
//! | [`status`] | what a provider reports: phases, exits, failures, observations |
//! | [`provider`] | the port and what its calls take and return |
//! | [`capability`] | what a provider can do, detected, with the reason where it cannot |
//! | [`error`] | the one error, with its four-valued [`Retry`] |
//! | [`policy`] | retry, breaker, limits, timeouts, telemetry, in their one standard order |
//! | [`factory`] | providers from settings, their detection and readiness |
//! | [`select`] | which provider gets a worker, and why |
//! | [`credential`] | the port for secrets, with a store in memory |
//! | [`store`] | the ports of what survives the host: log, state, leases |
//! | [`lifecycle`] | the life of a worker as a pure state machine over its events |
//! | [`watch`] | one source of changes, any number of watchers |
//! | [`settings`], [`quantity`], [`clock`] | reading what users write; time |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod capability;
pub mod clock;
pub mod credential;
mod deadline;
pub mod error;
pub mod factory;
pub mod lifecycle;
pub mod model;
pub mod policy;
pub mod provider;
pub mod quantity;
pub mod select;
pub mod settings;
pub mod status;
pub mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod watch;

pub use capability::{Capability, NativeChecks, ProviderCapabilities, Support};
pub use clock::{Clock, SystemClock, Timestamp};
pub use credential::CredentialProvider;
pub use error::{Error, ErrorKind, ErrorReport, Result, Retry};
pub use factory::{
    ConnectContext, ProviderConfig, ProviderFactory, ProviderHandle, ProviderSettings, ProviderState,
};
pub use lifecycle::{WorkerState, WorkerStateEvent};
pub use model::{WorkerConfig, WorkerHandle, WorkerId, WorkerRef};
pub use provider::{Operation, ProviderInfo, WorkerProvider, WorkerProviderExt};
pub use status::{WorkerObservation, WorkerPhase, WorkerStatus};
