use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::{Number, Value};

use crate::clock::Timestamp;

/// What a line of output says.
///
/// Time, level and message are found by the names that loggers commonly give them:
///
/// | what | names, the first that is there |
/// |---|---|
/// | time | `time`, `ts`, `timestamp`, `@timestamp` |
/// | level | `level`, `severity`, `lvl`, `log.level` |
/// | message | `msg`, `message`, and `message` in `fields` |
///
/// # Examples
/// ```
/// use hodei_worker_core::provider::{LogLevel, LogRecord};
/// let record = LogRecord::of(br#"{"ts":"2026-01-02T03:04:05Z","lvl":"warn","msg":"slow","took":1.5}"#);
/// assert_eq!((record.level(), record.message()), (Some(LogLevel::Warn), Some("slow")));
/// assert_eq!(record.get("took").and_then(|took| took.as_f64()), Some(1.5));
/// let record = LogRecord::of(b"listening on port 80");
/// assert_eq!((record.level(), record.message()), (None, Some("listening on port 80")));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LogRecord<'a> {
    /// An object of JSON.
    Json(LogFields<'a>),
    /// Anything else.
    Text(Cow<'a, str>),
}

impl<'a> LogRecord<'a> {
    /// What this line says. It is borrowed from, where nothing has to be unescaped.
    pub fn of(line: &'a [u8]) -> Self {
        if line.trim_ascii_start().starts_with(b"{")
            && let Ok(fields) = serde_json::from_slice(line)
        {
            return Self::Json(fields);
        }
        Self::Text(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// A field of this name, where the line has fields.
    pub fn get(&self, name: &str) -> Option<&LogValue<'a>> {
        match self {
            Self::Json(fields) => fields.get(name),
            Self::Text(_) => None,
        }
    }

    fn first(&self, names: &[&str]) -> Option<&LogValue<'a>> {
        names.iter().find_map(|name| self.get(name))
    }

    /// When it happened, as the worker says: a text by RFC 3339, or seconds, milliseconds, microseconds or nanoseconds
    /// since 1970, whichever comes near the present.
    pub fn time(&self) -> Option<Timestamp> {
        match self.first(&["time", "ts", "timestamp", "@timestamp"])? {
            LogValue::Text(text) => text.parse().ok(),
            LogValue::Other(Value::Number(number)) => since_1970(number),
            LogValue::Other(_) => None,
        }
    }

    /// How grave it is.
    pub fn level(&self) -> Option<LogLevel> {
        match self.first(&["level", "severity", "lvl", "log.level"])? {
            LogValue::Text(text) => LogLevel::of(text),
            LogValue::Other(value) => LogLevel::of_number(value.as_u64()?),
        }
    }

    /// What it says in words: its message, or the whole line where it has no fields.
    pub fn message(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            return Some(text);
        }
        match self.first(&["msg", "message"]) {
            Some(message) => message.as_str(),
            None => match self.get("fields")? {
                LogValue::Other(fields) => fields.get("message")?.as_str(),
                LogValue::Text(_) => None,
            },
        }
    }
}

/// Seconds reach the year 5138 before they are taken for milliseconds, and so on.
fn since_1970(number: &Number) -> Option<Timestamp> {
    const SECONDS: f64 = 1e11;
    let about = number.as_f64()?;
    let whole = number.as_i64();
    match about.abs() {
        size if size < SECONDS => match whole {
            Some(seconds) => Timestamp::from_second(seconds).ok(),
            // What a fraction holds exactly.
            None => Timestamp::from_microsecond((about * 1e6).round() as i64).ok(),
        },
        size if size < SECONDS * 1e3 => match whole {
            Some(millis) => Timestamp::from_millisecond(millis).ok(),
            None => Timestamp::from_microsecond((about * 1e3).round() as i64).ok(),
        },
        size if size < SECONDS * 1e6 => Timestamp::from_microsecond(whole.unwrap_or(about as i64)).ok(),
        _ => Timestamp::from_nanosecond(whole.unwrap_or(about as i64).into()).ok(),
    }
}

/// How grave a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For who looks for a fault.
    Debug,
    /// What goes on.
    Info,
    /// Something that may become a fault.
    Warn,
    /// Something failed.
    Error,
    /// Nothing works any more.
    Fatal,
}

impl LogLevel {
    /// The level of this name, in any case and with the usual abbreviations.
    fn of(name: &str) -> Option<Self> {
        const NAMES: [(&str, LogLevel); 23] = [
            ("trace", LogLevel::Trace),
            ("verbose", LogLevel::Trace),
            ("debug", LogLevel::Debug),
            ("dbg", LogLevel::Debug),
            ("info", LogLevel::Info),
            ("inf", LogLevel::Info),
            ("information", LogLevel::Info),
            ("informational", LogLevel::Info),
            ("notice", LogLevel::Info),
            ("warn", LogLevel::Warn),
            ("wrn", LogLevel::Warn),
            ("warning", LogLevel::Warn),
            ("error", LogLevel::Error),
            ("err", LogLevel::Error),
            ("eror", LogLevel::Error),
            ("severe", LogLevel::Error),
            ("fatal", LogLevel::Fatal),
            ("critical", LogLevel::Fatal),
            ("crit", LogLevel::Fatal),
            ("panic", LogLevel::Fatal),
            ("dpanic", LogLevel::Fatal),
            ("alert", LogLevel::Fatal),
            ("emergency", LogLevel::Fatal),
        ];
        let found = NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map(|(_, level)| *level).or_else(|| Self::of_number(name.parse().ok()?))
    }

    /// Syslog's severities to 7, and the tens of several libraries.
    const fn of_number(number: u64) -> Option<Self> {
        Some(match number {
            0..=2 => Self::Fatal,
            3 => Self::Error,
            4 => Self::Warn,
            5 | 6 => Self::Info,
            7 => Self::Debug,
            10..=19 => Self::Trace,
            20..=29 => Self::Debug,
            30..=39 => Self::Info,
            40..=49 => Self::Warn,
            50..=59 => Self::Error,
            60..=69 => Self::Fatal,
            _ => return None,
        })
    }
}

/// The fields of a line that is an object of JSON, in its order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogFields<'a>(Vec<(Cow<'a, str>, LogValue<'a>)>);

impl<'a> LogFields<'a> {
    /// The field of this name; of several, the last.
    pub fn get(&self, name: &str) -> Option<&LogValue<'a>> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }
    /// Each field.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &LogValue<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

/// What stands in a field.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LogValue<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// Anything else.
    Other(Value),
}

impl LogValue<'_> {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other(_) => None,
        }
    }
    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Text(_) => None,
            Self::Other(value) => value.as_f64(),
        }
    }
}

impl fmt::Display for LogValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Other(value) => write!(f, "{value}"),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for LogFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = LogFields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some(LogValue::Text(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(LogFields(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for LogValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = LogValue<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(LogValue::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(LogValue::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(LogValue::Other(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(LogValue::Other(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(LogValue::Other(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(LogValue::Other(value.into()))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(LogValue::Other(Value::Null))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Value::deserialize(SeqAccessDeserializer::new(seq)).map(LogValue::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Value::deserialize(MapAccessDeserializer::new(map)).map(LogValue::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
