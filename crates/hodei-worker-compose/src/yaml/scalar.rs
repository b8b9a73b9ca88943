//! What a scalar means: the core schema of YAML 1.2 with the older octal numbers, underscores and dates.

use std::sync::Arc;

use crate::{
    number::{Whole, whole, yaml_float},
    tree::Value,
};

/// Whether a key is the merge key.
pub(super) fn is_merge(text: &str, plain: bool, tag: Option<&str>) -> bool {
    match tag {
        Some(tag) => tag == "!!merge",
        None => plain && text == "<<",
    }
}

/// The value of a scalar.
pub(super) fn value(text: &str, plain: bool, tag: Option<&str>) -> Result<Value, String> {
    let literal = || Value::Text(Arc::from(text));
    let wrong = |kind: &str| format!("`{text}` is not {kind}, which its tag says it is");
    match tag {
        None if plain => match resolve(text) {
            Value::Float(value) if !value.is_finite() => {
                Err(format!("`{text}` is a number that no field takes; write it in quotes if it is text"))
            }
            value => Ok(value),
        },
        None | Some("!!str") => Ok(literal()),
        Some("!!bool") => match resolve(text) {
            value @ Value::Bool(_) => Ok(value),
            _ => Err(wrong("a boolean")),
        },
        Some("!!int") => match resolve(text) {
            value @ (Value::Int(_) | Value::Unsigned(_)) => Ok(value),
            _ => Err(wrong("a whole number")),
        },
        Some("!!float") => match resolve(text) {
            Value::Float(value) if value.is_finite() => Ok(Value::Float(value)),
            Value::Int(value) => Ok(Value::Float(value as f64)),
            _ => Err(wrong("a number")),
        },
        Some("!!null") => match resolve(text) {
            Value::Null => Ok(Value::Null),
            _ => Err(wrong("null")),
        },
        Some("!!timestamp") => match resolve(text) {
            value @ Value::Time(..) => Ok(value),
            _ => Err(wrong("a date")),
        },
        Some("!!binary") => {
            let bytes = base64(text).ok_or("this is not base64, which its tag says it is")?;
            let text = String::from_utf8(bytes).map_err(|_| "the bytes of this `!!binary` are not text")?;
            Ok(Value::Text(Arc::from(text)))
        }
        Some(_) => Ok(literal()),
    }
}

fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        "-0" | "-0.0" => return Value::Float(-0.0),
        _ => {}
    }
    let first = text.as_bytes()[0];
    if first == b'.' {
        return match yaml_float(text) {
            Some(value) if !text.contains('_') => Value::Float(value),
            _ => Value::Text(Arc::from(text)),
        };
    }
    if first.is_ascii_digit() || matches!(first, b'+' | b'-') {
        if let Some((json, printed)) = timestamp(text) {
            return Value::Time(Arc::from(json), Arc::from(printed));
        }
        match whole(text) {
            Some(Whole::Signed(value)) => return Value::Int(value),
            Some(Whole::Unsigned(value)) => return Value::Unsigned(value),
            None => {}
        }
        if let Some(value) = yaml_float(text) {
            return Value::Float(value);
        }
    }
    Value::Text(Arc::from(text))
}

/// A date, or a date with a time: as JSON has it (RFC 3339), and as it is printed.
fn timestamp(text: &str) -> Option<(String, String)> {
    let (year, rest) = text.split_at_checked(4)?;
    let year = number(year, 4, 4)?;
    let rest = rest.strip_prefix('-')?;
    let (month, rest) = rest.split_once('-')?;
    let month = number(month, 1, 2)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (day, time) = rest.split_at(end);
    let day = number(day, 1, 2)?;
    if !(1..=12).contains(&month) || !(1..=days(year, month)).contains(&day) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if time.is_empty() {
        return Some((format!("{date}T00:00:00Z"), format!("{date} 00:00:00 +0000 UTC")));
    }
    let zoned = time.starts_with(['T', 't']);
    let time = time.strip_prefix(['T', 't', ' '])?;
    let (clock, zone) = match zoned {
        true => time.split_at(time.find(['Z', '+', '-'])?),
        false => (time, "Z"),
    };
    let (clock, fraction) = match clock.split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, fraction),
        None => (clock, ""),
    };
    if clock.len() < time.len() && fraction.is_empty() && time[clock.len()..].starts_with(['.', ',']) {
        return None;
    }
    let mut parts = clock.split(':');
    let (hour, minute, second) =
        (number(parts.next()?, 1, 2)?, number(parts.next()?, 1, 2)?, number(parts.next()?, 1, 2)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: String = fraction.chars().take(9).collect();
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    let clock = format!("{hour:02}:{minute:02}:{second:02}{fraction}");
    if zone == "Z" {
        return Some((format!("{date}T{clock}Z"), format!("{date} {clock} +0000 UTC")));
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours, 2, 2)?, number(minutes, 2, 2)?);
    if hours > 24 || minutes > 60 {
        return None;
    }
    let sign = &zone[..1];
    let zone = format!("{sign}{hours:02}{minutes:02}");
    let shown =
        if hours == 0 && minutes == 0 { "Z".to_owned() } else { format!("{sign}{hours:02}:{minutes:02}") };
    Some((format!("{date}T{clock}{shown}"), format!("{date} {clock} {zone} {zone}")))
}

fn number(text: &str, least: usize, most: usize) -> Option<u32> {
    ((least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')).collect();
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    let groups = digits.len() / 4;
    for (n, group) in digits.chunks(4).enumerate() {
        let padding =
            if n + 1 == groups { group.iter().rev().take(2).take_while(|b| **b == b'=').count() } else { 0 };
        let mut word = 0_u32;
        for (at, digit) in group.iter().enumerate() {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' if at >= 4 - padding => 0,
                _ => return None,
            };
            word = word << 6 | u32::from(value);
        }
        bytes.extend(&word.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Option<String> {
        match resolve(text) {
            Value::Time(json, _) => Some(json.to_string()),
            _ => None,
        }
    }

    #[test]
    fn dates_are_dates() {
        assert_eq!(json("2001-12-14").as_deref(), Some("2001-12-14T00:00:00Z"));
        assert_eq!(json("2001-1-2T3:4:5.60+02:00").as_deref(), Some("2001-01-02T03:04:05.6+02:00"));
        assert_eq!(json("2001-01-02 03:04:05").as_deref(), Some("2001-01-02T03:04:05Z"));
        assert_eq!(json("2001-02-29"), None);
        assert_eq!(json("2001-12-14x"), None);
    }

    #[test]
    fn words_of_yaml_1_1_are_text() {
        for text in ["yes", "no", "on", "off", "y", "0x", "1:30", "1.2.3", "+", "."] {
            assert!(matches!(resolve(text), Value::Text(_)), "{text}");
        }
    }

    #[test]
    fn tags_decide() {
        assert!(matches!(value("5", true, Some("!!str")), Ok(Value::Text(_))));
        assert!(matches!(value("5", false, Some("!!int")), Ok(Value::Int(5))));
        assert!(matches!(value("aGk=", true, Some("!!binary")), Ok(Value::Text(text)) if &*text == "hi"));
        assert!(value("x", true, Some("!!int")).is_err());
        assert!(matches!(value("5", true, Some("!other")), Ok(Value::Text(_))));
    }
}
