//! Numbers as the reference implementation reads and prints them.

use serde_json::Value as Json;

/// A number as Go's `%v` prints it: the shortest digits, with an exponent below 1e-4 and from 1e6 on.
pub(crate) fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

/// A number as JSON has it: whole ones without a fraction.
pub(crate) fn json_float(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() < 9.0e18 && !(value == 0.0 && value.is_sign_negative()) {
        return Json::from(value as i64);
    }
    if value.fract() == 0.0 && value > 0.0 && value < 1.8e19 {
        return Json::from(value as u64);
    }
    serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number)
}

/// A number of half the precision, with the shortest digits that name it.
pub(crate) fn json_float32(value: f32) -> Json {
    json_float(value.to_string().parse().unwrap_or(f64::from(value)))
}

/// A whole number in the syntax of Go with base 0: `0x1f`, `0o17`, `017`, `0b1`, `1_000`, with a sign.
pub(crate) fn whole(text: &str) -> Option<Whole> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, &plain[..]),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
    if let Ok(value) = i64::from_str_radix(&signed, radix) {
        return Some(Whole::Signed(value));
    }
    // A sign is not taken where the number only fits without one.
    (plain.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| u64::from_str_radix(digits, radix).ok().map(Whole::Unsigned))
        .flatten()
}

/// A whole number that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    Signed(i64),
    Unsigned(u64),
}

/// A decimal number with a point or an exponent, as YAML has it.
pub(crate) fn yaml_float(text: &str) -> Option<f64> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (before, after) = match mantissa.split_once('.') {
        Some((before, after)) => (before, Some(after)),
        None => (mantissa, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(before) || !after.is_none_or(digits) {
        return None;
    }
    if before.is_empty() && after.is_none_or(str::is_empty) {
        return None;
    }
    if let Some(exponent) = exponent {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if exponent.is_empty() || !digits(exponent) {
            return None;
        }
    }
    plain.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A decimal number in the syntax of Go's `ParseFloat`, without its hexadecimal form.
pub(crate) fn go_parse_float(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    if matches!(unsigned, "inf" | "infinity" | "nan") {
        return lower.parse().ok();
    }
    if text.contains('_') {
        return None;
    }
    yaml_float(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        for (value, text) in [
            (1.5, "1.5"),
            (1e30, "1e+30"),
            (1e6, "1e+06"),
            (123456.5, "123456.5"),
            (123456789.125, "1.23456789125e+08"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.0, "1"),
            (0.0, "0"),
        ] {
            assert_eq!(go_float(value), text);
        }
    }

    #[test]
    fn whole_numbers_have_go_s_bases() {
        assert_eq!(whole("017"), Some(Whole::Signed(15)));
        assert_eq!(whole("0o17"), Some(Whole::Signed(15)));
        assert_eq!(whole("-0x1F"), Some(Whole::Signed(-31)));
        assert_eq!(whole("1_000"), Some(Whole::Signed(1000)));
        assert_eq!(whole("08"), None);
        assert_eq!(whole("18446744073709551615"), Some(Whole::Unsigned(u64::MAX)));
        assert_eq!(whole("18446744073709551616"), None);
        assert_eq!(yaml_float("08"), Some(8.0));
        assert_eq!(yaml_float("1e3"), Some(1000.0));
        assert_eq!(yaml_float("."), None);
    }
}
