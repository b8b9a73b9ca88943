//! Samples of durations, and what is said of them.

use std::{future::Future, time::Duration};

use crate::Outcome;

/// Measured durations of one thing.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a measurement.
    pub fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }
    /// The duration that this share (0 to 1) of the samples does not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }
    /// The median.
    pub fn median(&self) -> Duration {
        self.quantile(0.5)
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The 95 % interval of the ratio of two medians, by 2,000 resamplings of both.
    pub fn ratio_interval(&self, base: &Self) -> (f64, f64) {
        let resampled = |samples: &Self| {
            let picks = (0..samples.len()).map(|_| samples.0[fastrand::usize(..samples.len())]);
            Self(picks.collect()).median().as_secs_f64()
        };
        let mut ratios: Vec<f64> = (0..2000).map(|_| resampled(self) / resampled(base)).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        (ratios[50], ratios[1949])
    }
}

/// Measures a future that many times.
///
/// # Errors
/// What the future says.
pub async fn measure<F, Fut>(times: usize, mut what: F) -> Outcome<Samples>
where
    F: FnMut(usize) -> Fut,
    Fut: Future<Output = Outcome>,
{
    let mut samples = Samples::new();
    for n in 0..times {
        let begun = std::time::Instant::now();
        what(n).await?;
        samples.push(begun.elapsed());
    }
    Ok(samples)
}

/// A duration in the unit that suits it.
pub fn show(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.2} µs", nanos as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", nanos as f64 / 1e6),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}
