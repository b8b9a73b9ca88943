//! Containers: how one is described, found, created, started, stopped and deleted.

mod create;
mod delete;
mod find;
mod list;
mod spec;
mod start;
mod stop;

pub(crate) use find::Found;
