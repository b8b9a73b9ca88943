//! Whether workers are well: probes, what they come to, and who makes them.
//!
//! A platform makes the checks that it can, as its [capabilities](crate::ProviderCapabilities::native_checks) say; the
//! others this host makes, and [`plan`] shows which are whose. A [`HealthMonitor`] makes them and reads the platform's
//! results, and tells a change of a worker's health as a [`HealthReport`].
//!
//! # Probes
//! | probe | how this host makes it |
//! |---|---|
//! | `http` | a GET at the worker's own address where the provider tells one, and at the port's published one otherwise; feature `http-probes` |
//! | `http` with the scheme `https` | the same over TLS; feature `https-probes`. Certificates are not verified unless [`HealthSettings::tls_roots`] are set |
//! | `tcp` | a connection to the same address, that is closed at once |
//! | these three, without an address | [`connect_worker_port`](crate::WorkerProvider::connect_worker_port), where the provider [has it](crate::Capability::PortForward) and this host reaches no address of its workers. Kubernetes connects to the pod's loopback then, tells refusals only, and a `tcp` check waits at least 250 ms for one |
//! | `command` | [`exec_in_worker`](crate::WorkerProvider::exec_in_worker), which must exit with 0. One that hangs goes on where the platform cannot end it (Docker): give it a limit of its own, as `timeout 2 …` |
//! | `native` | the health in the worker's status |
//! | `heartbeat` | [`HealthMonitor::heartbeat`], called by the host or by [the worker's reports](crate::jobs) |
//!
//! # What findings come to
//! - So many successes or failures in a row as the thresholds say make it healthy or unhealthy. With several checks it
//!   is healthy when all are and unhealthy when one is.
//! - Until the first success it is tried once a second where the interval is longer, and failures count once per
//!   interval, and not at all in the `start_period`.
//! - Successes that are slower than `slow_after` degrade it by latency, until as many in a row are quick again.
//! - Going back and forth degrades it by flapping. Until it is calm, no recovery counts.
//! - A try that could not be made says nothing: the provider does not answer, or this host has no socket left. Neither
//!   does one of a provider that [cannot be reached](HealthMonitor::reaches). Only a running worker is tried, not one
//!   that is frozen or on its way out.

mod check;
mod finding;
mod flapping;
mod monitor;
mod plan;
mod probe;
mod settings;
#[cfg(test)]
mod tests;
mod verdict;

pub use monitor::{HealthMonitor, HealthReport, Subject, Tried, TryObserver};
pub use plan::{CheckedBy, HealthPlan, HowChecked, plan};
pub use settings::HealthSettings;
