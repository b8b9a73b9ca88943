//! Quantities that parse and print what users write: `500m`, `1.5`, `512Mi`, `30s`.

mod cpu;
mod duration;
mod size;

pub use cpu::Cpu;
pub use duration::HumanDuration;
pub use size::ByteSize;

/// A text that is not a quantity: what was read, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantityError {
    text: String,
    expected: &'static str,
}

impl QuantityError {
    pub(crate) fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.to_owned(), expected }
    }
}

impl std::fmt::Display for QuantityError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is not {}", self.text, self.expected)
    }
}

impl std::error::Error for QuantityError {}

/// Text in, text out: the traits by which a quantity is parsed from strings and read by serde.
macro_rules! textual {
    ($name:ident, $expecting:literal $(, number: $number:expr)?) => {
        impl TryFrom<&str> for $name {
            type Error = $crate::quantity::QuantityError;
            fn try_from(text: &str) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl TryFrom<String> for $name {
            type Error = $crate::quantity::QuantityError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    $(
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$name, E> {
                        ($number)(&number.to_string()).map_err(E::custom)
                    }
                    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<$name, E> {
                        ($number)(&number.to_string()).map_err(E::custom)
                    }
                    )?
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    };
}
pub(crate) use textual;
