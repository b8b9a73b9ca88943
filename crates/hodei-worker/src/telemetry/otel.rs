//! The metrics for OpenTelemetry: everything that goes to the `metrics` facade, handed on to a `Meter` of the host's own
//! SDK. Which exporter it has, and how often it exports, is the host's business.

use hodei_worker_core::{Error, ErrorKind, Result};
use metrics::{Recorder, with_local_recorder};
use metrics_opentelemetry::{OpenTelemetryMetrics, OpenTelemetryRecorder};
pub use opentelemetry;
use opentelemetry::{KeyValue, metrics::Meter};

use super::{
    Telemetry, names,
    samples::{described, worker_type},
};

/// Makes a meter the recorder of the `metrics` facade for the whole process.
///
/// # Errors
/// [`ErrorKind::Conflict`] when there is a recorder already; combine it with [`recorder`] then.
///
/// # Examples
/// ```no_run
/// # fn example(provider: &dyn opentelemetry::metrics::MeterProvider) -> hodei_worker::Result<()> {
/// use hodei_worker::telemetry::{Telemetry, otel};
/// # use otel::opentelemetry;
/// let telemetry = Telemetry::default();
/// otel::install(provider.meter("hodei-worker"), &telemetry)?;
/// # Ok(()) }
/// ```
pub fn install(meter: Meter, telemetry: &Telemetry) -> Result<()> {
    metrics::set_global_recorder(recorder(meter, telemetry)).map_err(|error| {
        Error::new(ErrorKind::Conflict, "the process has a recorder of metrics already")
            .with_help("combine this one with yours: `otel::recorder`")
            .with_source(error)
    })
}

/// A recorder that hands everything to the meter. The last measurements of single workers are observed when the meter
/// is read, so that those of workers that are no more are not told any more.
pub fn recorder(meter: Meter, telemetry: &Telemetry) -> impl Recorder + Send + Sync + 'static {
    for (name, unit, about) in described() {
        let samples = telemetry.samples().clone();
        // It stays with the meter.
        let _gauge = meter
            .f64_observable_gauge(name)
            .with_description(about)
            .with_unit(unit.as_canonical_label())
            .with_callback(move |observer| {
                samples.of(name, |worker, sample, value| {
                    observer.observe(
                        value,
                        &[
                            KeyValue::new(names::PROVIDER, sample.provider.to_string()),
                            KeyValue::new(names::WORKER, worker.to_string()),
                            KeyValue::new(names::WORKER_TYPE, worker_type(sample).to_owned()),
                        ],
                    );
                });
            })
            .build();
    }
    let recorder = OpenTelemetryRecorder::new(OpenTelemetryMetrics::new(meter));
    recorder.set_histogram_bounds(names::DURATIONS.into_iter(), &names::DURATION_BUCKETS);
    with_local_recorder(&recorder, names::describe);
    recorder
}
