//! A deserializer over a JSON value that knows where it is, and can leave places out.

use std::{collections::HashSet, fmt, rc::Rc};

use serde::{
    Deserializer,
    de::{
        self, IntoDeserializer, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

/// The path of a value below the root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Path(pub(super) Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }
    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Why one value could not be read.
#[derive(Debug)]
pub(super) struct ReadError {
    pub(super) path: Option<Path>,
    pub(super) fault: Fault,
}

#[derive(Debug)]
pub(super) enum Fault {
    Unknown { name: String, expected: &'static [&'static str] },
    UnknownVariant { name: String, expected: &'static [&'static str] },
    Missing(&'static str),
    Other(String),
}

impl ReadError {
    fn of(fault: Fault) -> Self {
        Self { path: None, fault }
    }
    /// The innermost place wins: it is set first.
    fn at(mut self, path: &Path) -> Self {
        self.path.get_or_insert_with(|| path.clone());
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.fault)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::of(Fault::Other(message.to_string()))
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::of(Fault::Unknown { name: field.to_owned(), expected })
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::of(Fault::UnknownVariant { name: variant.to_owned(), expected })
    }
    fn missing_field(field: &'static str) -> Self {
        Self::of(Fault::Missing(field))
    }
}

/// A value at its place. What stands in `left_out` is not there.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) value: &'a Value,
    pub(super) path: Path,
    pub(super) left_out: Rc<HashSet<Path>>,
}

impl<'a> Node<'a> {
    fn child(&self, value: &'a Value, step: Step) -> Option<Self> {
        let path = self.path.with(step);
        (!self.left_out.contains(&path)).then(|| Self { value, path, left_out: Rc::clone(&self.left_out) })
    }
    fn entries(&self, map: &'a serde_json::Map<String, Value>) -> Vec<(Key, Self)> {
        map.iter()
            .filter_map(|(key, value)| {
                let node = self.child(value, Step::Key(key.clone()))?;
                Some((Key { name: key.clone(), path: node.path.clone() }, node))
            })
            .collect()
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_string(text.clone()),
            Value::Array(items) => {
                let items = items.iter().enumerate().filter_map(|(n, item)| self.child(item, Step::Index(n)));
                visitor.visit_seq(SeqDeserializer::new(items.collect::<Vec<_>>().into_iter()))
            }
            Value::Object(map) => visitor.visit_map(MapDeserializer::new(self.entries(map).into_iter())),
        };
        result.map_err(|error| error.at(&self.path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let path = self.path.clone();
        visitor.visit_newtype_struct(self).map_err(|error| error.at(&path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let path = self.path.clone();
        let result = match self.value {
            Value::String(text) => {
                let text: StringDeserializer<ReadError> = text.clone().into_deserializer();
                text.deserialize_enum(name, variants, visitor)
            }
            Value::Object(map) => visitor
                .visit_enum(MapAccessDeserializer::new(MapDeserializer::new(self.entries(map).into_iter()))),
            _ => self.deserialize_any(visitor),
        };
        result.map_err(|error| error.at(&path))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, ReadError> for Node<'_> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// A key of an object: its faults are faults of the place that it names.
struct Key {
    name: String,
    path: Path,
}

impl<'de> Deserializer<'de> for Key {
    type Error = ReadError;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_string(self.name).map_err(|error: ReadError| error.at(&self.path))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let key: StringDeserializer<ReadError> = self.name.into_deserializer();
        key.deserialize_enum(name, variants, visitor).map_err(|error| error.at(&self.path))
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let path = self.path.clone();
        visitor.visit_newtype_struct(self).map_err(|error| error.at(&path))
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, ReadError> for Key {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}
