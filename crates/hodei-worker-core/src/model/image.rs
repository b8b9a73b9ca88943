use std::{fmt, net::Ipv6Addr, str::FromStr};

use crate::quantity::{QuantityError, textual};

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
        // What stands before an `@` that no digest follows may be a password for the registry.
        let shown = match text.split_once('@') {
            Some((_, rest)) if rest.contains('/') => rest,
            _ => text,
        };
        let wrong = |expected| QuantityError::new(shown, expected);
        if shown.len() < text.len() {
            return Err(wrong(
                "an image: leave out user and password, they belong to the provider's settings",
            ));
        }
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
        repository_is_good(repository).map_err(wrong)?;
        let tag_ok = |tag: &str| {
            (1..=128).contains(&tag.len())
                && !tag.starts_with(['.', '-'])
                && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if tag.is_some_and(|tag| !tag_ok(tag)) {
            return Err(wrong(
                "an image with a usable tag: 1 to 128 letters, digits, `.`, `_` or `-`, the first no `.` or `-`",
            ));
        }
        let digest_ok = |digest: &str| {
            digest.split_once(':').is_some_and(|(algorithm, hex)| {
                algorithm.starts_with(|first: char| first.is_ascii_alphabetic())
                    && algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte))
                    && (hex.len() == 64 || (algorithm != "sha256" && hex.len() >= 32))
                    && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
            })
        };
        if digest.is_some_and(|digest| !digest_ok(digest)) {
            return Err(wrong(
                "an image with a usable digest such as `sha256:` and 64 hexadecimal digits in lower case",
            ));
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

/// Checks a name by the rules of registries: `[host[:port]/]part[/part]…`. The error says what was expected.
fn repository_is_good(repository: &str) -> Result<(), &'static str> {
    if repository.contains("://") {
        return Err("an image: leave out the scheme, as in `registry/name:tag`");
    }
    if repository.len() > 255 {
        return Err("an image: its name may have 255 characters at most");
    }
    // As engines tell a registry from the first part of a path.
    let is_host = |part: &str| part.contains(['.', ':', '[']) || part == "localhost";
    let path = match repository.split_once('/') {
        Some((host, path)) if is_host(host) => {
            if !host_is_good(host) {
                return Err("an image with a usable registry, as in `registry:5000/name:tag`");
            }
            path
        }
        _ => repository,
    };
    if path.contains(|c: char| c.is_ascii_uppercase()) {
        return Err("an image: engines refuse upper-case letters in its name");
    }
    if path.is_empty() || !path.split('/').all(part_is_good) {
        return Err("an image such as `registry/name:tag`");
    }
    Ok(())
}

fn host_is_good(host: &str) -> bool {
    let label_is_good = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let (name_is_good, rest) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((address, rest)) => (address.parse::<Ipv6Addr>().is_ok(), rest),
        None => {
            let (name, rest) = host.split_at(host.find(':').unwrap_or(host.len()));
            (name.split('.').all(label_is_good), rest)
        }
    };
    let port_is_good = |port: &str| !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port > 0);
    name_is_good && (rest.is_empty() || rest.strip_prefix(':').is_some_and(port_is_good))
}

/// Lower-case letters and digits, between them one `.`, one or two `_`, or any number of `-`.
fn part_is_good(part: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut ends = part.bytes().next().into_iter().chain(part.bytes().next_back());
    !part.is_empty()
        && ends.all(word)
        && part.split(|c: char| c.is_ascii() && word(c as u8)).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
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
        for good in [
            "a:1",
            "a/b:1.2-x",
            "127.0.0.1:5000/a:1",
            "[::1]:5000/a:1",
            "Registry.example/a_b/c__d/e--f.g:V1",
            "localhost/a:_1",
            digest.as_str(),
        ] {
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

    #[test]
    fn p1_images_that_no_engine_takes_are_refused_with_the_reason() {
        for (bad, reason) in [
            ("http://x/y:1", "leave out the scheme"),
            ("https://x.example/y:1", "leave out the scheme"),
            ("team/App:1", "upper-case"),
            ("Team/app:1", "upper-case"),
            ("App:1", "upper-case"),
            ("x.example:0/a:1", "registry"),
            ("x.example:+1/a:1", "registry"),
            ("x..example/a:1", "registry"),
            ("-x.example/a:1", "registry"),
            ("[::1/a:1", "registry"),
            ("[::1]5/a:1", "registry"),
            ("a//b:1", "such as"),
            ("/a:1", "such as"),
            ("a-:1", "such as"),
            ("a..b:1", "such as"),
            ("a___b:1", "such as"),
            ("a._b:1", "such as"),
            ("a/ä:1", "such as"),
            ("a:-1", "usable tag"),
            ("a:.1", "usable tag"),
            ("a@sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", "usable digest"),
            (&format!("{}:1", "x".repeat(256)), "255"),
        ] {
            let error = bad.parse::<ContainerImage>().unwrap_err().to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
