//! A store in PostgreSQL 13 or newer, which several hosts share.
//!
//! Everything is in one schema of a database, and made there when it is first opened. Several installations in one database
//! have a schema each.
//!
//! - **Writing.** Batches that come at once are written in one transaction, which is one call of a function in the
//!   database: however long a host is paused, it holds nothing up. Each batch is judged by itself.
//! - **Reading.** A position becomes visible when nothing can appear before it any more: `draw` and `settled` in
//!   `schema/0001.sql` say how that is known. Other users' long transactions do not hold it back.
//! - **Being told.** A host that waits for events hears of them by `NOTIFY`, sent once for many writes, and asks by itself
//!   now and then, so that a lost notification costs time and nothing else.
//! - **Leases** end by the database's clock, and are checked in the transaction of each write.
//!
//! It keeps four connections open: to write, to read, for leases, and to listen. They are made anew when they break.

mod changes;
mod connector;
mod error;
mod group;
mod leases;
mod link;
mod migrate;
mod names;
mod read;
mod request;
mod seal;
mod settings;
mod state;
mod store;
mod tls;
mod writer;

pub use settings::PostgresSettings;
pub use store::PostgresStore;
