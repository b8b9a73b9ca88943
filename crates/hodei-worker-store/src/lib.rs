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
//!
//! # Stores in files
//!
//! A store in a file is a folder that one process has to itself. One thread writes: it gathers the batches that are
//! there, checks each against the heads of all streams, which are in memory, and makes all of them durable by one commit.
//! What was acknowledged survives the process, the machine and its power; that it is all there is checked when a store is
//! opened: every event, value and snapshot by a checksum bound to its place, the log by its positions, versions and links,
//! the rest by number and sum, and everything by an *anchor* beside the engine's file. What does not add up is refused
//! ([`Corrupt`](hodei_worker_core::ErrorKind::Corrupt)), and `verify` and `repair` are the way out.
//!
//! | what happens | what a host sees |
//! |---|---|
//! | a second host opens it | `Conflict`, after a second in which one that was just killed lets go |
//! | the folder cannot be written | `PermissionDenied` |
//! | the disk is full | `Capacity`; writing goes on when there is room |
//! | a newer version wrote it | `Unsupported`, with both versions |
//! | a file was cut off, flipped, exchanged or lost | `Corrupt` |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "redb", feature = "sled"))]
mod engine;
#[cfg(any(feature = "redb", feature = "sled"))]
mod file;
#[cfg(any(feature = "redb", feature = "sled"))]
mod format;
#[cfg(any(feature = "redb", feature = "sled"))]
mod lock;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "redb", feature = "sled"))]
mod reports;
#[cfg(any(feature = "redb", feature = "sled"))]
mod settings;
#[cfg(any(feature = "redb", feature = "sled"))]
mod stores;

#[cfg(feature = "postgres")]
pub use postgres::{PostgresSettings, PostgresStore};
#[cfg(any(feature = "redb", feature = "sled"))]
pub use reports::{Salvage, Verification};
#[cfg(any(feature = "redb", feature = "sled"))]
pub use settings::FileSettings;
#[cfg(feature = "redb")]
pub use stores::RedbStore;
#[cfg(feature = "sled")]
pub use stores::SledStore;
