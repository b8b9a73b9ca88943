use std::{fmt, ops::Deref, str::FromStr, time::Duration};

use jiff::fmt::friendly::{Designator, Spacing, SpanParser, SpanPrinter};

use super::{QuantityError, textual};

/// A span of time with its unit: `30s`, `1m30s`, `500ms`, `2h`. A bare number is refused: seconds or
/// milliseconds, nobody knows.
///
/// # Examples
/// ```
/// use hodei_worker_core::quantity::HumanDuration;
/// let duration: HumanDuration = "1m30s".parse()?;
/// assert_eq!(duration.as_secs(), 90);
/// assert_eq!(duration.to_string(), "1m30s");
/// # Ok::<(), hodei_worker_core::quantity::QuantityError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// That many seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
    /// That many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
    /// The duration itself.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for HumanDuration {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wrong = || QuantityError::new(text, "a duration such as `30s`, `1m30s` or `500ms`");
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        SpanParser::new().parse_unsigned_duration(text).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printer = SpanPrinter::new().designator(Designator::Compact).spacing(Spacing::None);
        f.write_str(&printer.unsigned_duration_to_string(&self.0))
    }
}

impl Deref for HumanDuration {
    type Target = Duration;
    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

textual!(HumanDuration, "a duration such as `30s`, `1m30s` or `500ms`");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_durations_parse_and_print_what_users_write() {
        for (text, millis, printed) in [
            ("30s", 30_000, "30s"),
            ("1m30s", 90_000, "1m30s"),
            ("500ms", 500, "500ms"),
            ("2h", 7_200_000, "2h"),
            ("0", 0, "0s"),
        ] {
            let duration: HumanDuration = text.parse().unwrap();
            assert_eq!((duration.as_millis(), duration.to_string().as_str()), (millis, printed));
            assert_eq!(duration.to_string().parse::<HumanDuration>().unwrap(), duration);
        }
    }

    #[test]
    fn p1_durations_refuse_what_is_none() {
        for text in ["", "30", "-5s", "s", "5 parsecs", "1s garbage"] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
    }
}
