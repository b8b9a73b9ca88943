//! Names, labels and what they mean; the table stands in [the module](super). Those of calls to providers stand in
//! [`hodei_worker_core::policy::names`].

use hodei_worker_core::policy;
pub use hodei_worker_core::policy::names::{OUTCOME, PROVIDER, REASON};
use metrics::Unit;

/// Gauge: workers in each state. Labels: [`PROVIDER`], [`STATE`].
pub const WORKERS: &str = "hodei_worker_workers";
/// Counter: changes of state. Labels: [`PROVIDER`], [`FROM`], [`TO`].
pub const TRANSITIONS: &str = "hodei_worker_transitions_total";
/// Counter: tries to bring workers back. Labels: [`PROVIDER`], [`STRATEGY`], [`OUTCOME`]: `planned`, `helped`, or
/// `failed` where another followed in the same row.
pub const RECOVERIES: &str = "hodei_worker_recoveries_total";
/// Counter: workers for which a person was called. Labels: [`PROVIDER`], [`REASON`].
pub const ESCALATIONS: &str = "hodei_worker_escalations_total";
/// Counter: workers taken over from other hosts. Labels: [`PROVIDER`].
pub const TAKEOVERS: &str = "hodei_worker_takeovers_total";
/// Counter: probes of workers' health. Labels: [`PROVIDER`], [`PROBE`], [`OUTCOME`].
pub const PROBES: &str = "hodei_worker_probes_total";
/// Histogram, in seconds: how long they took. Labels as [`PROBES`].
pub const PROBE_DURATION: &str = "hodei_worker_probe_duration_seconds";
/// Counter: batches appended to the log. Labels: [`STORE`], [`OUTCOME`].
pub const APPENDS: &str = "hodei_worker_store_appends_total";
/// Histogram, in seconds: how long that took, time in the queue included. Labels as [`APPENDS`].
pub const APPEND_DURATION: &str = "hodei_worker_store_append_duration_seconds";
/// Gauge: batches that wait to be appended. Labels: [`STORE`].
pub const APPEND_QUEUE: &str = "hodei_worker_store_queue_length";
/// Gauge, in seconds: how long the host's lease holds; 0 without. Labels: [`HOST`].
pub const LEASE_REMAINING: &str = "hodei_worker_lease_remaining_seconds";
/// Counter: leases that ran out or were taken. Labels: [`HOST`].
pub const LEASES_LOST: &str = "hodei_worker_leases_lost_total";
/// Gauge: subscribers of events.
pub const SUBSCRIBERS: &str = "hodei_worker_event_subscribers";
/// Gauge: events that the slowest subscriber has not read.
pub const EVENT_LAG: &str = "hodei_worker_event_lag";
/// Counter: events that were dropped for slow subscribers.
pub const EVENTS_MISSED: &str = "hodei_worker_events_missed_total";
/// Counter: measurements of single workers. Labels: [`PROVIDER`], [`OUTCOME`].
pub const SAMPLES: &str = "hodei_worker_samples_total";
/// Counter: workers that were not measured, as the budget was used up.
pub const SAMPLES_SKIPPED: &str = "hodei_worker_samples_skipped_total";
/// Gauge, in seconds: time of the processor since the run began. Labels of single workers: [`PROVIDER`], [`WORKER`],
/// [`WORKER_TYPE`].
pub const CPU: &str = "hodei_worker_cpu_seconds";
/// Gauge, in cores: CPU in use on average of late, where the provider tells that. Labels as [`CPU`].
pub const CPU_USAGE: &str = "hodei_worker_cpu_usage_cores";
/// Gauge, in cores: CPU that is set aside for it. Labels as [`CPU`].
pub const CPU_REQUEST: &str = "hodei_worker_cpu_request_cores";
/// Gauge, in bytes: memory that is set aside for it. Labels as [`CPU`].
pub const MEMORY_REQUEST: &str = "hodei_worker_memory_request_bytes";
/// Gauge, in bytes: memory in use. Labels as [`CPU`].
pub const MEMORY: &str = "hodei_worker_memory_bytes";
/// Gauge, in bytes: memory that it may use. Labels as [`CPU`].
pub const MEMORY_LIMIT: &str = "hodei_worker_memory_limit_bytes";
/// Gauge: processes and threads. Labels as [`CPU`].
pub const PIDS: &str = "hodei_worker_pids";
/// Gauge, in bytes: read from disks since the run began. Labels as [`CPU`].
pub const DISK_READ: &str = "hodei_worker_disk_read_bytes";
/// Gauge, in bytes: written to disks since the run began. Labels as [`CPU`].
pub const DISK_WRITTEN: &str = "hodei_worker_disk_written_bytes";
/// Gauge, in bytes: received since the run began. Labels as [`CPU`].
pub const NETWORK_RECEIVED: &str = "hodei_worker_network_received_bytes";
/// Gauge, in bytes: sent since the run began. Labels as [`CPU`].
pub const NETWORK_SENT: &str = "hodei_worker_network_sent_bytes";
/// Gauge: 1 where the last probe over the network was answered, else 0. Labels as [`CPU`].
pub const REACHABLE: &str = "hodei_worker_reachable";
/// Gauge, in seconds: how long the last answered probe took. Labels as [`CPU`].
pub const RESPONSE: &str = "hodei_worker_response_seconds";

/// The worker's state.
pub const STATE: &str = "state";
/// The state before; `none` for a new worker.
pub const FROM: &str = "from";
/// The state after; `none` where the worker is no more.
pub const TO: &str = "to";
/// How it is brought back, as [`Strategy::as_str`](hodei_worker_core::lifecycle::Strategy::as_str) gives it.
pub const STRATEGY: &str = "strategy";
/// The kind of probe: `http`, `tcp`, `command`, `native`, `heartbeat`.
pub const PROBE: &str = "probe";
/// The kind of store.
pub const STORE: &str = "store";
/// The host's name.
pub const HOST: &str = "host";
/// The worker's id.
pub const WORKER: &str = "worker";
/// The worker's type; empty for none.
pub const WORKER_TYPE: &str = "worker_type";

/// The upper bounds of the buckets of all histograms of durations, in seconds.
pub const DURATION_BUCKETS: [f64; 14] =
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// The histograms of durations.
pub const DURATIONS: [&str; 3] = [policy::names::CALL_DURATION, PROBE_DURATION, APPEND_DURATION];

/// Tells the recorder that is installed what all measurements mean, those of calls to providers as well. The recorders
/// of this crate know already.
pub fn describe() {
    policy::names::describe();
    metrics::describe_gauge!(WORKERS, Unit::Count, "Workers in each state.");
    metrics::describe_counter!(TRANSITIONS, Unit::Count, "Changes of workers' states.");
    metrics::describe_counter!(RECOVERIES, Unit::Count, "Tries to bring workers back.");
    metrics::describe_counter!(ESCALATIONS, Unit::Count, "Workers for which a person was called.");
    metrics::describe_counter!(TAKEOVERS, Unit::Count, "Workers taken over from other hosts.");
    metrics::describe_counter!(PROBES, Unit::Count, "Probes of workers' health.");
    metrics::describe_histogram!(PROBE_DURATION, Unit::Seconds, "Duration of probes of workers' health.");
    metrics::describe_counter!(APPENDS, Unit::Count, "Batches appended to the log.");
    metrics::describe_histogram!(APPEND_DURATION, Unit::Seconds, "Duration of appends to the log.");
    metrics::describe_gauge!(APPEND_QUEUE, Unit::Count, "Batches that wait to be appended to the log.");
    metrics::describe_gauge!(LEASE_REMAINING, Unit::Seconds, "How long the host's lease holds.");
    metrics::describe_counter!(LEASES_LOST, Unit::Count, "Leases that ran out or were taken.");
    metrics::describe_gauge!(SUBSCRIBERS, Unit::Count, "Subscribers of events.");
    metrics::describe_gauge!(EVENT_LAG, Unit::Count, "Events that the slowest subscriber has not read.");
    metrics::describe_counter!(EVENTS_MISSED, Unit::Count, "Events that were dropped for slow subscribers.");
    metrics::describe_counter!(SAMPLES, Unit::Count, "Measurements of single workers.");
    metrics::describe_counter!(SAMPLES_SKIPPED, Unit::Count, "Workers beyond the budget of measurements.");
    for (name, unit, text) in super::samples::described() {
        metrics::describe_gauge!(name, unit, text);
    }
}
