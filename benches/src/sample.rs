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

/// Differences of pairs that were measured one right after the other, in nanoseconds.
#[derive(Debug, Clone, Default)]
pub struct Differences(Vec<i64>);

impl Differences {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a pair; the difference is negative where the first was quicker than its base.
    pub fn push(&mut self, one: Duration, base: Duration) {
        self.0.push(one.as_nanos() as i64 - base.as_nanos() as i64);
    }
    /// The difference that this share (0 to 1) of the pairs does not exceed.
    pub fn quantile(&self, share: f64) -> i64 {
        quantile(&self.0, share)
    }
    /// The 95 % interval of the median, by 2,000 resamplings.
    pub fn interval(&self) -> (i64, i64) {
        if self.0.is_empty() {
            return (0, 0);
        }
        let mut medians: Vec<i64> = (0..2000)
            .map(|_| {
                let picks: Vec<_> = self.0.iter().map(|_| self.0[fastrand::usize(..self.0.len())]).collect();
                quantile(&picks, 0.5)
            })
            .collect();
        medians.sort_unstable();
        (medians[50], medians[1949])
    }
}

fn quantile(values: &[i64], share: f64) -> i64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

/// A difference in microseconds, with its sign.
pub fn show_signed(nanos: i64) -> String {
    format!("{:+.1} µs", nanos as f64 / 1e3)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_below_zero_is_shown_as_one() {
        let mut differences = Differences::new();
        for nanos in [100, 200, 300] {
            differences.push(Duration::from_nanos(nanos), Duration::from_nanos(1000));
        }
        assert_eq!(differences.quantile(0.5), -800);
        assert_eq!(show_signed(differences.quantile(0.5)), "-0.8 µs");
        let (low, high) = differences.interval();
        assert!((-900..=-700).contains(&low) && (-900..=-700).contains(&high));
    }
}
