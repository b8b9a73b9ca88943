//! Pauses between attempts to open a stream again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles from 100 ms to 5 s, each pause shortened at random by up to a half, so that many clients of one engine do
/// not come back at once.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
    /// It has worked: the next pause is short again.
    pub(crate) fn reset(&mut self) {
        self.0 = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_pauses_grow_to_a_limit_and_begin_again() {
        let mut backoff = Backoff::default();
        assert!(backoff.next() <= FIRST);
        let longest = (0..20).map(|_| backoff.next()).max().unwrap();
        assert!(longest > LONGEST / 2 && longest <= LONGEST);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
