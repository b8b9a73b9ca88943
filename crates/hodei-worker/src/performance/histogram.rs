use std::time::Duration;

use super::Spread;

/// Eight buckets per power of two, in microseconds, up to 12 days: what is read from it is at most an eighth too high.
const SUB: u64 = 8;
const SUB_BITS: u32 = 3;
const LARGEST: u64 = (1 << 40) - 1;
const BUCKETS: usize = index(LARGEST) + 1;

const fn index(micros: u64) -> usize {
    if micros < SUB {
        return micros as usize;
    }
    let exponent = 63 - micros.leading_zeros();
    let place = (micros >> (exponent - SUB_BITS)) & (SUB - 1);
    ((exponent - SUB_BITS + 1) as u64 * SUB + place) as usize
}

/// The largest value that falls into that bucket.
const fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < SUB {
        return index;
    }
    let shift = index / SUB - 1;
    ((index % SUB + SUB + 1) << shift) - 1
}

/// Durations, counted in a fixed number of buckets. Takes no room while it is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    counts: Vec<u32>,
    count: u64,
    total: Duration,
    max: Duration,
}

impl Histogram {
    pub(super) fn record(&mut self, duration: Duration) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(LARGEST);
        if let Some(count) = self.counts.get_mut(index(micros)) {
            *count = count.saturating_add(1);
        }
        self.count += 1;
        self.total = self.total.saturating_add(duration);
        self.max = self.max.max(duration);
    }

    pub(super) fn total(&self) -> Duration {
        self.total
    }

    /// The value that so many of a thousand do not exceed.
    fn quantile(&self, per_mille: u64) -> Duration {
        let wanted = (self.count * per_mille).div_ceil(1000);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted && seen > 0 {
                return Duration::from_micros(upper(index)).min(self.max);
            }
        }
        self.max
    }

    pub(super) fn spread(&self) -> Spread {
        Spread {
            count: self.count,
            p50: self.quantile(500).into(),
            p95: self.quantile(950).into(),
            max: self.max.into(),
            total: self.total.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l11_every_duration_has_a_bucket_that_is_an_eighth_too_high_at_most() {
        for micros in
            (0..2000).chain((11..40).flat_map(|power| [(1 << power) - 1, 1 << power, 3 << (power - 1)]))
        {
            let upper = upper(index(micros));
            assert!(upper >= micros && upper <= micros + micros / 8, "{micros}: {upper}");
        }
        assert_eq!(index(LARGEST), BUCKETS - 1);
        assert!(BUCKETS * size_of::<u32>() < 1300, "it is small");
    }

    #[test]
    fn l11_quantiles_are_near_and_never_above_the_largest() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.spread(), Spread::default());
        for millis in 1..=1000 {
            histogram.record(Duration::from_millis(millis));
        }
        histogram.record(Duration::from_secs(1 << 40));
        let spread = histogram.spread();
        assert!((500..=563).contains(&spread.p50.as_millis()), "{spread:?}");
        assert!((950..=1069).contains(&spread.p95.as_millis()), "{spread:?}");
        assert_eq!((spread.count, spread.max.as_secs()), (1001, 1 << 40));
    }
}
