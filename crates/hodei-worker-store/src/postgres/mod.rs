//! A store that several hosts share. What holds for it says [`PostgresStore`]; how it keeps order, `schema/0001.sql`.

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
