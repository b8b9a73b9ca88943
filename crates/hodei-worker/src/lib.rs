#![doc = include_str!("../README.md")]
//!
//! # Crate features
//!
//! | feature | what it brings | default |
//! |---|---|---|
//! | `process` | workers as local processes | yes |
//! | `docker` | workers as containers of a Docker Engine | no |
//! | `prometheus` | the metrics as Prometheus' text, to be served by the host | no |
//! | `opentelemetry` | the metrics to an OpenTelemetry meter of the host's | no |
//! | `testkit` | the behaviour suite and the scriptable fake, for tests | no |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;
pub mod events;
pub mod performance;
pub mod telemetry;
#[cfg(test)]
mod testing;

pub use hodei_worker_core::*;

pub use connect::{connect, connect_with, factory, open, rules};

/// Workers as local processes.
#[cfg(feature = "process")]
pub mod process {
    pub use hodei_worker_process::*;
}

/// Workers as containers of a Docker Engine.
#[cfg(feature = "docker")]
pub mod docker {
    pub use hodei_worker_docker::*;
}
