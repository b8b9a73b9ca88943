use std::{fmt, str::FromStr, sync::Arc};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdError {
    what: &'static str,
    text: String,
    reason: &'static str,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}: {}", self.text, self.what, self.reason)
    }
}

impl std::error::Error for IdError {}

/// The longest identifier. With an installation's id and a generation it still fits every provider's names.
const LONGEST: usize = 40;

fn check(text: &str) -> Result<(), &'static str> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match text.as_bytes() {
        [] => Err("it is empty"),
        bytes if bytes.len() > LONGEST => Err("it is longer than 40 characters"),
        bytes if !bytes.iter().all(|byte| inner(*byte) || *byte == b'-') => {
            Err("only the letters a to z, digits and `-` are allowed")
        }
        [first, .., last] if !inner(*first) || !inner(*last) => Err("it begins or ends with `-`"),
        [only] if !inner(*only) => Err("it begins or ends with `-`"),
        _ => Ok(()),
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// Lower-case letters, digits and `-`, beginning and ending with a letter or digit, at most 40
        /// characters. Anything else is refused, never mended or hashed, so that names made of it are unique.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes an identifier of it.
            ///
            /// # Errors
            /// [`IdError`], when the text is empty, too long or holds other characters.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                check(text).map_err(|reason| IdError { what: $what, text: text.to_owned(), reason })?;
                Ok(Self(text.into()))
            }
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
        impl TryFrom<&str> for $name {
            type Error = IdError;
            fn try_from(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

identifier! {
    /// The name of a worker, unique within an installation.
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_core::model::WorkerId;
    /// let id: WorkerId = "build-42".parse()?;
    /// assert_eq!(id.as_str(), "build-42");
    /// assert!("Build_42".parse::<WorkerId>().is_err());
    /// # Ok::<(), hodei_worker_core::model::IdError>(())
    /// ```
    WorkerId, "a worker id"
}
identifier! {
    /// The name of an installation: all hosts that share one view of their workers. Every object that is created
    /// carries it, and nothing without it is ever touched.
    InstallationId, "an installation id"
}
identifier! {
    /// The name that a host gives to one of its providers (`docker-eu`, `local`).
    ProviderName, "a provider name"
}

impl ProviderName {
    /// A name that is known to be one.
    pub(crate) fn of_ours(name: &'static str) -> Self {
        Self(name.into())
    }
}

identifier! {
    /// A group of workers of the same kind: their `worker_type`.
    GroupRef, "a worker type"
}
identifier! {
    /// The identity of an event log. An object made under another log is not ours to judge.
    LogId, "a log id"
}

impl LogId {
    /// A new one, at random.
    pub fn random() -> Self {
        Self(format!("{:032x}", fastrand::u128(..)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_ids_are_refused_never_mended() {
        for good in ["a", "0", "a-b", "build-42", &"x".repeat(40)] {
            assert!(WorkerId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-", "-a", "a-", "A", "a_b", "a.b", "ä", "a b", "a\n", &"x".repeat(41)] {
            let error = WorkerId::new(bad).unwrap_err();
            assert!(error.to_string().contains("is not a worker id"), "{error}");
        }
    }

    #[test]
    fn p1_ids_are_checked_when_they_are_read() {
        assert!(serde_json::from_str::<WorkerId>("\"ok\"").is_ok());
        assert!(serde_json::from_str::<WorkerId>("\"not ok\"").is_err());
    }
}
