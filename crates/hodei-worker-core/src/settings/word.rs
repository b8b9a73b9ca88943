//! A variant that is named by a bare word.

use serde::de::{
    DeserializeSeed, EnumAccess, Error as _, VariantAccess, Visitor,
    value::{MapDeserializer, StrDeserializer},
};

use super::node::{Path, ReadError};

/// The name of a variant, without anything in it: `on_failure` means what `{"on_failure": {}}` does.
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a Path,
}

impl Word<'_> {
    fn needs(&self, what: &str) -> ReadError {
        ReadError::custom(format_args!("`{0}` needs {what}: write `{{\"{0}\": …}}`", self.text))
    }
}

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = ReadError;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let variant = seed.deserialize(StrDeserializer::<ReadError>::new(self.text))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = ReadError;
    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, ReadError> {
        Err(self.needs("a value"))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ReadError> {
        Err(self.needs("values"))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let nothing = MapDeserializer::new(std::iter::empty::<(&str, &str)>());
        visitor.visit_map(nothing).map_err(|error: ReadError| error.at(&self.path.key(self.text)))
    }
}
