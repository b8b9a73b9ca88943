//! Quantities and durations as the cluster's APIs write them.

use std::time::Duration;

/// A quantity in billionths. See "Quantity" of Kubernetes' API reference.
pub(crate) fn nanos(text: &str) -> Option<u128> {
    const SUFFIXES: [(&str, u128); 15] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("n", 0),
        ("u", 0),
        ("m", 0),
    ];
    const ONE: u128 = 1_000_000_000;
    let text = text.trim();
    let suffixed =
        SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, suffix, factor)));
    let (number, unit) = match suffixed {
        Some((number, &"n", _)) => (number, 1),
        Some((number, &"u", _)) => (number, 1_000),
        Some((number, &"m", _)) => (number, 1_000_000),
        Some((number, _, factor)) => (number, ONE.checked_mul(*factor)?),
        None => match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, power(exponent.parse().ok()?)?),
            None => (text, ONE),
        },
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let fraction = fraction.get(..fraction.len().min(18))?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let read = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let whole = read(whole)?.checked_mul(unit)?;
    // What is less than a billionth is nothing.
    whole.checked_add(read(fraction)?.checked_mul(unit)? / 10_u128.pow(digits))
}

/// Ten to that, in billionths.
fn power(exponent: i32) -> Option<u128> {
    u32::try_from(exponent + 9).ok().and_then(|power| 10_u128.checked_pow(power))
}

/// A quantity in whole units.
pub(crate) fn whole(text: &str) -> Option<u64> {
    u64::try_from(nanos(text)? / 1_000_000_000).ok()
}

/// A duration as Go writes it: `14.5s`, `1m0s`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k8_quantities_are_read_in_all_their_forms() {
        let all = [
            ("0", 0),
            ("1", 1_000_000_000),
            ("12345n", 12_345),
            ("7u", 7_000),
            ("250m", 250_000_000),
            ("1.5", 1_500_000_000),
            ("0.5Ki", 512_000_000_000),
            ("16Mi", 16_777_216_000_000_000),
            ("1k", 1_000_000_000_000),
            ("1e3", 1_000_000_000_000),
            ("5E-3", 5_000_000),
            (".5", 500_000_000),
            ("1Ei", 1_152_921_504_606_846_976_000_000_000),
        ];
        for (text, wanted) in all {
            assert_eq!(nanos(text), Some(wanted), "{text}");
        }
        for bad in ["", "n", "-1", "1.2.3", "1x", "1e", "e3", "1e99", "½", "."] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
        assert_eq!((whole("4636Ki"), whole("100m")), (Some(4636 << 10), Some(0)));
    }

    #[test]
    fn k8_windows_are_read() {
        assert_eq!(duration("14.5s"), Some(Duration::from_millis(14_500)));
        assert_eq!(duration("1m0s"), Some(Duration::from_secs(60)));
        assert_eq!(duration("1m2.25s"), Some(Duration::from_millis(62_250)));
        assert_eq!(duration("soon"), None);
    }
}
