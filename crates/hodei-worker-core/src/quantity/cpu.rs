use std::{fmt, str::FromStr};

use super::{QuantityError, textual};

/// Processor time, in thousandths of a core: `1.5` (cores) or `500m` (thousandths), as Kubernetes writes it.
///
/// # Examples
/// ```
/// use hodei_worker_core::quantity::Cpu;
/// assert_eq!("1.5".parse::<Cpu>()?, Cpu::from_millis(1500));
/// assert_eq!("500m".parse::<Cpu>()?.to_string(), "500m");
/// assert!("0.0001".parse::<Cpu>().is_err());
/// # Ok::<(), hodei_worker_core::quantity::QuantityError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cpu(u64);

impl Cpu {
    /// That many thousandths of a core.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }
    /// That many whole cores.
    pub const fn cores(cores: u32) -> Self {
        Self(cores as u64 * 1000)
    }
    /// Thousandths of a core.
    pub const fn millis(self) -> u64 {
        self.0
    }
    /// Billionths of a core, as engines count.
    pub const fn nanos(self) -> u64 {
        self.0.saturating_mul(1_000_000)
    }
}

impl FromStr for Cpu {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wrong =
            || QuantityError::new(text, "an amount of CPU such as `1.5` (cores) or `500m` (thousandths)");
        if let Some(millis) = text.strip_suffix('m') {
            return digits(millis).map(Self).ok_or_else(wrong);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if fraction.is_empty() || fraction.len() > 3 {
            return Err(wrong());
        }
        let scale = 10_u64.pow(3 - fraction.len() as u32);
        let millis = digits(whole)
            .zip(digits(fraction))
            .and_then(|(whole, fraction)| whole.checked_mul(1000)?.checked_add(fraction * scale));
        millis.map(Self).ok_or_else(wrong)
    }
}

/// A number of ASCII digits alone: no sign, no white space.
pub(super) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 1000, self.0 % 1000) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, part) if whole > 0 && part % 100 == 0 => write!(f, "{whole}.{}", part / 100),
            _ => write!(f, "{}m", self.0),
        }
    }
}

textual!(Cpu, "an amount of CPU such as `1.5` or `500m`", number: str::parse::<Cpu>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_cpu_parses_and_prints_what_users_write() {
        for (text, millis, printed) in [
            ("2", 2000, "2"),
            ("1.5", 1500, "1.5"),
            ("0.1", 100, "100m"),
            ("500m", 500, "500m"),
            ("1250m", 1250, "1250m"),
            ("0.125", 125, "125m"),
            ("0", 0, "0"),
        ] {
            let cpu: Cpu = text.parse().unwrap();
            assert_eq!((cpu.millis(), cpu.to_string().as_str()), (millis, printed));
            assert_eq!(cpu.to_string().parse::<Cpu>().unwrap(), cpu);
        }
    }

    #[test]
    fn p1_cpu_refuses_what_is_none() {
        for text in
            ["", "m", "-1", "+1", "1.", ".5", "1.2345", "0.5m", "1 ", "1e3", "99999999999999999999", "ñ"]
        {
            assert!(text.parse::<Cpu>().is_err(), "{text}");
        }
    }

    #[test]
    fn p1_cpu_reads_numbers_too() {
        assert_eq!(serde_json::from_str::<Cpu>("1.5").unwrap(), Cpu::from_millis(1500));
        assert_eq!(serde_json::from_str::<Cpu>("2").unwrap(), Cpu::cores(2));
        assert!(serde_json::from_str::<Cpu>("-2").is_err());
    }
}
