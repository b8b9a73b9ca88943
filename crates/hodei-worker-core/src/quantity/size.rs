use std::{fmt, str::FromStr};

use super::{QuantityError, cpu::digits, textual};

const UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1000),
];

/// A number of bytes: `512Mi` and `1Gi` are powers of two, `1G` and `500M` powers of ten, a bare number bytes.
///
/// # Examples
/// ```
/// use hodei_worker_core::quantity::ByteSize;
/// assert_eq!("512Mi".parse::<ByteSize>()?.bytes(), 512 * 1024 * 1024);
/// assert_eq!(ByteSize::new(1_500_000_000).to_string(), "1500M");
/// # Ok::<(), hodei_worker_core::quantity::QuantityError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

impl ByteSize {
    /// That many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }
    /// That many kibibytes (1024 bytes each), or the largest size when it is more.
    pub const fn kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1 << 10))
    }
    /// That many mebibytes, or the largest size.
    pub const fn mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }
    /// That many gibibytes, or the largest size.
    pub const fn gib(gib: u64) -> Self {
        Self(gib.saturating_mul(1 << 30))
    }
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wrong = || QuantityError::new(text, "a size such as `512Mi`, `1G` or `65536`");
        if text.ends_with('m') {
            // Docker's `512m` is 512 Mi, Kubernetes' `512m` half a byte: nobody means the latter.
            return Err(QuantityError::new(text, "a size: write `Mi` for mebibytes or `M` for megabytes"));
        }
        let text = text.strip_suffix('B').unwrap_or(text);
        let (number, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)))
            .unwrap_or((text, 1));
        if unit == 1 && number.contains('.') {
            return Err(QuantityError::new(text, "a size: a fraction needs a unit, as in `1.5Gi`"));
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if fraction.len() > 3 {
            return Err(wrong());
        }
        let (whole, part) = digits(whole).zip(digits(fraction)).ok_or_else(wrong)?;
        let part = unit.checked_mul(part).ok_or_else(wrong)? / 10_u64.pow(fraction.len() as u32);
        whole.checked_mul(unit).and_then(|bytes| bytes.checked_add(part)).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

textual!(ByteSize, "a size such as `512Mi`, `1G` or `65536`", number: str::parse::<ByteSize>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_sizes_parse_and_print_what_users_write() {
        for (text, bytes, printed) in [
            ("512Mi", 512 << 20, "512Mi"),
            ("512MiB", 512 << 20, "512Mi"),
            ("1.5Gi", 3 << 29, "1536Mi"),
            ("1G", 1_000_000_000, "1G"),
            ("64", 64, "64"),
            ("1024", 1024, "1Ki"),
            ("0", 0, "0"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, printed));
            assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
    }

    #[test]
    fn p1_sizes_refuse_what_is_none() {
        for text in [
            "",
            "Mi",
            "-1",
            "512m",
            "1..5G",
            "1 Gi",
            "99999999Ti",
            "1.2345Gi",
            "G1",
            "1gi",
            "1.5",
            "1.5B",
            "2.0",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert!("1.5".parse::<ByteSize>().unwrap_err().to_string().contains("needs a unit"));
        assert!(serde_json::from_str::<ByteSize>("1.5").is_err());
    }

    #[test]
    fn p1_sizes_do_not_wrap_around() {
        let largest = ByteSize::new(u64::MAX);
        assert_eq!([ByteSize::kib(u64::MAX), ByteSize::mib(1 << 44), ByteSize::gib(1 << 34)], [largest; 3]);
    }
}
