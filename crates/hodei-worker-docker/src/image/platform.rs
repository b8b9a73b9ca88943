//! The system and processor that an image is for.

use bollard::models::ImageInspect;

/// A platform as the option names it, `os/architecture` or `os/architecture/variant`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Platform {
    os: String,
    architecture: String,
    /// Empty: any.
    variant: String,
}

impl Platform {
    /// `None` for what is no platform.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (os, architecture) = (parts.next()?, parts.next()?);
        let variant = parts.next();
        let whole = [Some(os), Some(architecture), variant];
        let good = parts.next().is_none() && whole.into_iter().flatten().all(|part| !part.is_empty());
        good.then(|| Self::new(os, architecture, variant.unwrap_or_default()))
    }

    /// In the one way to write it.
    fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = (architecture.to_ascii_lowercase(), variant.to_ascii_lowercase());
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "v1") | ("x86_64" | "x86-64", "") => ("amd64", ""),
            ("aarch64" | "arm64", "v8" | "8") | ("aarch64", "") => ("arm64", ""),
            ("i386", _) => ("386", ""),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            (architecture, variant) => (architecture, variant),
        };
        Self {
            os: os.to_ascii_lowercase(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// As engines take it where they look at an image.
    pub(crate) fn json(&self) -> String {
        let mut value = serde_json::json!({"os": self.os, "architecture": self.architecture});
        if !self.variant.is_empty() {
            value["variant"] = self.variant.as_str().into();
        }
        value.to_string()
    }

    /// Whether an image is for it.
    pub(crate) fn fits(&self, image: &ImageInspect) -> bool {
        let [os, architecture, variant] =
            [&image.os, &image.architecture, &image.variant].map(|part| part.as_deref().unwrap_or_default());
        self.runs(os, architecture, variant)
    }

    /// Whether it runs what is for that. Processors of a later variant run what is for an earlier one.
    pub(super) fn runs(&self, os: &str, architecture: &str, variant: &str) -> bool {
        let theirs = Self::new(os, architecture, variant);
        let runs = match (number(&self.variant), number(&theirs.variant)) {
            (Some(ours), Some(theirs)) => theirs <= ours,
            _ => true,
        };
        self.os == theirs.os && self.architecture == theirs.architecture && runs
    }
}

fn number(variant: &str) -> Option<u32> {
    variant.trim_start_matches('v').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(wanted: &str, os: &str, architecture: &str, variant: &str) -> bool {
        let image = ImageInspect {
            os: Some(os.to_owned()),
            architecture: Some(architecture.to_owned()),
            variant: Some(variant.to_owned()),
            ..ImageInspect::default()
        };
        Platform::parse(wanted).unwrap().fits(&image)
    }

    #[test]
    fn d6_a_platform_is_what_it_says_however_it_is_written() {
        for (wanted, os, architecture, variant, fit) in [
            ("linux/amd64", "linux", "amd64", "", true),
            ("linux/x86_64", "linux", "amd64", "", true),
            ("linux/arm64", "linux", "arm64", "v8", true),
            ("linux/arm64/v8", "linux", "arm64", "", true),
            ("linux/arm/v7", "linux", "arm", "v6", true),
            ("linux/arm/v6", "linux", "arm", "v7", false),
            ("linux/arm64", "linux", "amd64", "", false),
            ("windows/amd64", "linux", "amd64", "", false),
        ] {
            assert_eq!(
                fits(wanted, os, architecture, variant),
                fit,
                "{wanted} {os}/{architecture}/{variant}"
            );
        }
        assert_eq!(
            Platform::parse("linux/arm/v7").unwrap().json(),
            r#"{"architecture":"arm","os":"linux","variant":"v7"}"#
        );
        for bad in ["", "linux", "linux/", "/amd64", "linux/arm/", "linux/arm/v7/x"] {
            assert_eq!(Platform::parse(bad), None, "{bad}");
        }
    }
}
