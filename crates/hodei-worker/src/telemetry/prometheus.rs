//! The metrics as Prometheus' text. The host serves it, from any server that it has; nothing here opens a port.

use std::fmt::{self, Write as _};

use hodei_worker_core::{Error, ErrorKind, Result};
use metrics::{Recorder, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::{
    Sample, Samples, Telemetry, names,
    samples::{described, worker_type},
};

/// The content type of what [`render`](Prometheus::render) gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the metrics as text.
///
/// # Examples
/// ```
/// use hodei_worker::{WorkerState, telemetry::{Telemetry, prometheus::Prometheus}};
/// let telemetry = Telemetry::default();
/// let prometheus = Prometheus::install(&telemetry)?;
/// telemetry.workers([(&"local".parse()?, WorkerState::Running)]);
/// // For each GET /metrics:
/// let text = prometheus.render();
/// assert!(text.contains(r#"hodei_worker_workers{provider="local",state="running"} 1"#));
/// # Ok::<(), hodei_worker::Error>(())
/// ```
#[derive(Clone)]
pub struct Prometheus {
    handle: PrometheusHandle,
    samples: Samples,
}

impl Prometheus {
    /// Makes it the recorder of the `metrics` facade for the whole process.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when there is a recorder already; use [`recorder`](Self::recorder) then.
    pub fn install(telemetry: &Telemetry) -> Result<Self> {
        let (recorder, prometheus) = build(telemetry)?;
        match metrics::set_global_recorder(recorder) {
            Ok(()) => Ok(prometheus),
            Err(error) => {
                let message = "the process has a recorder of metrics already";
                let help = "combine this one with yours: `Prometheus::recorder`";
                Err(Error::new(ErrorKind::Conflict, message).with_help(help).with_source(error))
            }
        }
    }

    /// A recorder to be combined with others, and what writes it as text.
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`], never seen.
    pub fn recorder(telemetry: &Telemetry) -> Result<(impl Recorder + Send + Sync + 'static, Self)> {
        build(telemetry)
    }

    /// All metrics of the process that went to the recorder, and the last measurements of single workers. Asks nobody:
    /// what is to be up to date is told before (workers by state, the bus, the [sampler](super::Sampler)).
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        if !self.samples.is_empty() {
            write_samples(&mut text, &self.samples);
        }
        text
    }

    /// Makes room; for hosts that are seldom asked: call it once a minute or so.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn build(telemetry: &Telemetry) -> Result<(PrometheusRecorder, Prometheus)> {
    let mut builder = PrometheusBuilder::new();
    for name in names::DURATIONS {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(name.to_owned()), &names::DURATION_BUCKETS)
            .map_err(|error| Error::new(ErrorKind::Unexpected, "bad buckets").with_source(error))?;
    }
    let recorder = builder.build_recorder();
    with_local_recorder(&recorder, names::describe);
    let prometheus = Prometheus { handle: recorder.handle(), samples: telemetry.samples().clone() };
    Ok((recorder, prometheus))
}

fn write_samples(text: &mut String, samples: &Samples) {
    let mut last = "";
    samples.for_each(|name, worker, sample: &Sample, value| {
        if last != name {
            last = name;
            let about = described().find(|(known, ..)| *known == name).map_or("", |(_, _, about)| about);
            let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} gauge");
        }
        // Names and ids hold nothing that would have to be escaped.
        let (provider, worker_type) = (&sample.provider, worker_type(sample));
        let _ = writeln!(
            text,
            r#"{name}{{provider="{provider}",worker="{worker}",worker_type="{worker_type}"}} {value}"#
        );
    });
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("samples", &self.samples).finish_non_exhaustive()
    }
}
