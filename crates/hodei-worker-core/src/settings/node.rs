//! A deserializer over a JSON value that knows where it is, and can leave places out.

use std::{collections::HashSet, fmt, rc::Rc, vec};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{MapAccessDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

use super::word::Word;

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
    pub(super) fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
    /// Whether this place is the other one or lies inside it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
    /// The place of which this one is a part; the root has none.
    pub(super) fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, steps)| Self(steps.to_vec()))
    }
    /// What stands there.
    pub(super) fn find<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(root, |value, step| match step {
            Step::Key(key) => value.as_object()?.get(key),
            Step::Index(index) => value.as_array()?.get(*index),
        })
    }
    /// The places directly inside it.
    pub(super) fn children(&self, root: &Value) -> Vec<Self> {
        match self.find(root) {
            Some(Value::Object(map)) => map.keys().map(|key| self.key(key)).collect(),
            Some(Value::Array(items)) => (0..items.len()).map(|n| self.with(Step::Index(n))).collect(),
            _ => Vec::new(),
        }
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
#[derive(Debug, PartialEq)]
pub(super) struct ReadError {
    pub(super) path: Option<Path>,
    pub(super) fault: Fault,
}

#[derive(Debug, PartialEq)]
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
    pub(super) fn at(mut self, path: &Path) -> Self {
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
    // Text in the wrong place may be a secret, and problems are printed, logged and stored.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Char(_) | Unexpected::Str(_) => "a string",
            Unexpected::Bytes(_) => "bytes",
            Unexpected::Unit => "null",
            Unexpected::Seq => "a list",
            Unexpected::Map => "an object",
            found => return Self::custom(format_args!("{found}, expected {expected}")),
        };
        Self::custom(format_args!("{found}, expected {expected}"))
    }
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match found {
            Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => {
                Self::invalid_type(found, expected)
            }
            found => Self::custom(format_args!("{found}, expected {expected}")),
        }
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
    fn entries(&self, map: &'a serde_json::Map<String, Value>) -> Entries<'a> {
        let entries: Vec<_> = map
            .iter()
            .filter_map(|(key, value)| {
                let node = self.child(value, Step::Key(key.clone()))?;
                Some((Key { name: key.clone(), path: node.path.clone() }, node))
            })
            .collect();
        Entries { rest: entries.into_iter(), value: None }
    }
    fn items(&self, items: &'a [Value]) -> Items<'a> {
        let items = items.iter().enumerate().filter_map(|(n, item)| self.child(item, Step::Index(n)));
        Items(items.collect::<Vec<_>>().into_iter())
    }
}

/// An object's entries. What serde buffers (tagged enums) fails outside of any node, so a value's place is told
/// here as well.
struct Entries<'a> {
    rest: vec::IntoIter<(Key, Node<'a>)>,
    value: Option<Node<'a>>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        let path = value.path.clone();
        self.value = Some(value);
        seed.deserialize(key).map(Some).map_err(|error| error.at(&path))
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let value = self.value.take();
        let value = value.ok_or_else(|| de::Error::custom("its value is read before its name"))?;
        let path = value.path.clone();
        seed.deserialize(value).map_err(|error| error.at(&path))
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Items<'a>(vec::IntoIter<Node<'a>>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(item) = self.0.next() else { return Ok(None) };
        let path = item.path.clone();
        seed.deserialize(item).map(Some).map_err(|error| error.at(&path))
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
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
            Value::Array(items) => visitor.visit_seq(self.items(items)),
            Value::Object(map) => visitor.visit_map(self.entries(map)),
        };
        result.map_err(|error| error.at(&self.path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        // Serde reads structs from lists too, field after field; nobody who writes settings means that.
        match self.value {
            Value::Array(_) => {
                Err(<ReadError as de::Error>::invalid_type(Unexpected::Seq, &visitor).at(&self.path))
            }
            _ => self.deserialize_any(visitor),
        }
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
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let path = self.path.clone();
        let result = match self.value {
            Value::String(text) => visitor.visit_enum(Word { text, path: &self.path }),
            Value::Object(map) => visitor.visit_enum(MapAccessDeserializer::new(self.entries(map))),
            _ => self.deserialize_any(visitor),
        };
        result.map_err(|error| error.at(&path))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
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
