use std::{fmt, str::FromStr};

use crate::quantity::textual;

use crate::quantity::QuantityError;

/// A container image, with a tag or a digest, or both: `registry:5000/team/app:1.2@sha256:…`.
///
/// An image with neither is refused, since `latest` is another image tomorrow.
///
/// # Examples
/// ```
/// use hodei_worker_core::model::ContainerImage;
/// let image: ContainerImage = "localhost:5000/team/app:1.2".parse()?;
/// assert_eq!((image.repository(), image.tag()), ("localhost:5000/team/app", Some("1.2")));
/// assert!("team/app".parse::<ContainerImage>().is_err());
/// # Ok::<(), hodei_worker_core::quantity::QuantityError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerImage {
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ContainerImage {
    /// The name without tag and digest, with the registry if one was given.
    pub fn repository(&self) -> &str {
        &self.repository
    }
    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
    /// The digest with its algorithm, `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl FromStr for ContainerImage {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wrong = |expected| QuantityError::new(text, expected);
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match rest[name_start..].find(':') {
            Some(colon) => (&rest[..name_start + colon], Some(&rest[name_start + colon + 1..])),
            None => (rest, None),
        };
        let name_ok = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:[]".contains(&byte);
        if repository.is_empty() || !repository.bytes().all(name_ok) || repository[name_start..].is_empty() {
            return Err(wrong("an image such as `registry/name:tag`"));
        }
        let tag_ok = |tag: &str| {
            (1..=128).contains(&tag.len())
                && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if tag.is_some_and(|tag| !tag_ok(tag)) {
            return Err(wrong("an image with a usable tag: 1 to 128 letters, digits, `.`, `_` or `-`"));
        }
        let digest_ok = |digest: &str| {
            digest.split_once(':').is_some_and(|(algorithm, hex)| {
                !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
        };
        if digest.is_some_and(|digest| !digest_ok(digest)) {
            return Err(wrong("an image with a usable digest such as `sha256:` and 64 hexadecimal digits"));
        }
        if tag.is_none() && digest.is_none() {
            return Err(wrong("pinned: an image needs a tag or a digest, as in `name:1.2`"));
        }
        Ok(Self {
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

impl fmt::Display for ContainerImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

textual!(ContainerImage, "an image such as `registry/name:tag`");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_images_need_a_tag_or_a_digest() {
        let digest = format!("a@sha256:{}", "0f".repeat(32));
        for good in ["a:1", "a/b:1.2-x", "127.0.0.1:5000/a:1", digest.as_str()] {
            assert_eq!(good.parse::<ContainerImage>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            ":1",
            "a",
            "a:",
            "host:5000/a",
            "a@sha256:12",
            "a b:1",
            "a/:1",
            &format!("a:{}", "x".repeat(129)),
        ] {
            assert!(bad.parse::<ContainerImage>().is_err(), "{bad}");
        }
    }
}
