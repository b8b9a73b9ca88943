#![doc = include_str!("../README.md")]
//!
//! # Crate features
//!
//! | feature | what it brings | default |
//! |---|---|---|
//! | `process` | workers as local processes | yes |
//! | `docker` | workers as containers of a Docker Engine | no |
//! | `kubernetes` | workers as pods of a Kubernetes cluster | no |
//! | `compose` | compose files, run as groups of workers | no |
//! | `http-probes` | health checks by HTTP | no |
//! | `https-probes` | health checks by HTTPS | no |
//! | `redb` | the default store of one host, in a file | yes |
//! | `sled` | the same on sled | no |
//! | `postgres` | a store that several hosts share | no |
//! | `prometheus` | the metrics as Prometheus' text, to be served by the host | no |
//! | `opentelemetry` | the metrics to an OpenTelemetry meter of the host's | no |
//! | `testkit` | the behaviour suite and the scriptable fake, for tests | no |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;
pub mod degradation;
pub mod events;
pub mod health;
pub mod jobs;
pub mod manager;
pub mod performance;
pub mod telemetry;
#[cfg(test)]
mod testing;

pub use hodei_worker_core::*;

pub use manager::WorkerManager;

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

/// Workers as pods of a Kubernetes cluster.
#[cfg(feature = "kubernetes")]
pub mod kubernetes {
    pub use hodei_worker_k8s::*;
}

/// Compose files, read and run as groups of workers.
#[cfg(feature = "compose")]
pub mod compose {
    pub use hodei_worker_compose::*;
}

/// Where a manager keeps what survives the host.
#[cfg(any(feature = "redb", feature = "sled", feature = "postgres"))]
pub mod stores {
    pub use hodei_worker_core::store::MemoryStore;
    pub use hodei_worker_store::*;
}
