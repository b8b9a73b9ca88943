//! What is measured, and how it leaves the host.
//!
//! Everything goes to the recorder of the [`metrics`](https://docs.rs/metrics) facade, whichever the host installs; without one it costs next to
//! nothing. [`Telemetry`] records what the manager does, `policy::names` what the calls to providers do, and the table
//! is one vocabulary. What is [sampled](Sampler) of single workers is kept in a table and leaves only when it is asked
//! for: workers come and go, and no recorder forgets.
//!
//! | name | kind | unit | labels |
//! |---|---|---|---|
//! | `hodei_worker_calls_total` | counter | calls | `provider`, `provider_type`, `operation`, `outcome` |
//! | `hodei_worker_call_duration_seconds` | histogram | seconds | `provider`, `provider_type`, `operation`, `outcome` |
//! | `hodei_worker_retries_total` | counter | attempts | `provider`, `provider_type`, `operation` |
//! | `hodei_worker_limit_rejections_total` | counter | calls | `provider`, `provider_type`, `operation`, `reason` |
//! | `hodei_worker_breaker_state` | gauge | 0 closed, 1 half-open, 2 open | `provider`, `provider_type` |
//! | `hodei_worker_workers` | gauge | workers | `provider`, `state` |
//! | `hodei_worker_transitions_total` | counter | changes of state | `provider`, `from`, `to` |
//! | `hodei_worker_recoveries_total` | counter | tries | `provider`, `strategy`, `outcome`: `planned`, `helped`, `failed` where another followed |
//! | `hodei_worker_escalations_total` | counter | calls for a person | `provider`, `reason` |
//! | `hodei_worker_takeovers_total` | counter | workers | `provider` |
//! | `hodei_worker_probes_total` | counter | probes | `provider`, `probe`, `outcome`: `ok`, `failed`, `unknown` |
//! | `hodei_worker_probe_duration_seconds` | histogram | seconds | `provider`, `probe`, `outcome`: as above |
//! | `hodei_worker_store_appends_total` | counter | batches | `store`, `outcome` |
//! | `hodei_worker_store_append_duration_seconds` | histogram | seconds, the queue included | `store`, `outcome` |
//! | `hodei_worker_store_queue_length` | gauge | batches | `store` |
//! | `hodei_worker_lease_remaining_seconds` | gauge | seconds, 0 without a lease | `host` |
//! | `hodei_worker_leases_lost_total` | counter | leases | `host` |
//! | `hodei_worker_event_subscribers` | gauge | subscribers | |
//! | `hodei_worker_event_lag` | gauge | events, unread by the slowest subscriber | |
//! | `hodei_worker_events_missed_total` | counter | events | |
//! | `hodei_worker_samples_total` | counter | measurements of single workers | `provider`, `outcome` |
//! | `hodei_worker_samples_skipped_total` | counter | workers that were not measured, as the budget was used up | |
//! | `hodei_worker_cpu_seconds` | gauge | seconds of the processor since the run began | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_memory_bytes` | gauge | bytes in use | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_cpu_usage_cores` | gauge | cores | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_cpu_request_cores` | gauge | cores | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_memory_request_bytes` | gauge | bytes | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_memory_limit_bytes` | gauge | bytes | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_pids` | gauge | processes and threads | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_disk_read_bytes` | gauge | bytes since the run began | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_disk_written_bytes` | gauge | bytes since the run began | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_network_received_bytes` | gauge | bytes since the run began | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_network_sent_bytes` | gauge | bytes since the run began | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_reachable` | gauge | 1 if its last probe over the network was answered, else 0 | `provider`, `worker`, `worker_type` |
//! | `hodei_worker_response_seconds` | gauge | seconds that the last answered probe took | `provider`, `worker`, `worker_type` |
//!
//! `outcome` is `ok` or an error's kind, where it says nothing else. What is counted since a run began is a gauge: with
//! the next run it begins anew, and a rate over it has to know.
//!
//! The features `prometheus` and `opentelemetry` bring `telemetry::prometheus` and `telemetry::otel`.

pub mod names;
#[cfg(feature = "opentelemetry")]
#[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry")))]
pub mod otel;
#[cfg(feature = "prometheus")]
#[cfg_attr(docsrs, doc(cfg(feature = "prometheus")))]
pub mod prometheus;
mod record;
mod sampler;
mod samples;
mod settings;
#[cfg(test)]
mod tests;

pub use names::describe;
pub use record::Telemetry;
pub use sampler::{SampleTarget, Sampled, Sampler};
pub use samples::{Sample, Samples};
pub use settings::SamplingSettings;
