//! What several parts need.

pub(crate) mod apt;
pub(crate) mod certificates;
pub(crate) mod control;
pub(crate) mod go;
pub(crate) mod http;
pub(crate) mod image;
pub(crate) mod kept;
pub(crate) mod maven;
pub(crate) mod port;
pub(crate) mod python;
pub(crate) mod registry;
pub(crate) mod script;
pub(crate) mod server;
pub(crate) mod subnet;
