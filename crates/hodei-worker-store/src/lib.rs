//! Durable stores of hodei-worker: what has to survive the host, on embedded engines or PostgreSQL.
//!
//! All of them implement [`Store`](hodei_worker_core::store::Store), and pass one behaviour suite
//! (`hodei_worker_core::testkit::stores`).
//!
//! # Crate features
//!
//! | feature | what it brings | default |
//! |---|---|---|
//! | `redb` | the default store of one host, in a file | yes |
//! | `sled` | the same on sled | no |
//! | `postgres` | a store that several hosts share | no |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "redb")]
mod engine;
#[cfg(feature = "redb")]
mod file;
#[cfg(feature = "redb")]
mod format;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redb")]
mod reports;
#[cfg(feature = "redb")]
mod settings;
#[cfg(feature = "redb")]
mod stores;

#[cfg(feature = "postgres")]
pub use postgres::{PostgresSettings, PostgresStore};
#[cfg(feature = "redb")]
pub use reports::{Salvage, Verification};
#[cfg(feature = "redb")]
pub use settings::FileSettings;
#[cfg(feature = "redb")]
pub use stores::RedbStore;
