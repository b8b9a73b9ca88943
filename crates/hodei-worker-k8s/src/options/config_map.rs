use std::collections::BTreeMap;

use hodei_worker_core::settings::Problems;
use serde::{Deserialize, Serialize};

/// What an API server takes of one object (1 MiB).
const LARGEST: usize = 1 << 20;

/// Files of a configuration: a ConfigMap that all workers mount which name it.
///
/// Its content is part of the worker's configuration: a worker whose files are others needs its next generation. What runs
/// sees other content without that by [`KubernetesProvider::apply_config_map`](crate::KubernetesProvider::apply_config_map),
/// which holds until a worker is made whose files are others than those of the worker that was made before it.
///
/// # Examples
/// ```
/// use hodei_worker_core::WorkerConfig;
/// use hodei_worker_k8s::{ConfigMapOptions, KubernetesOptions};
/// let files = ConfigMapOptions::new("app", "/etc/app").file("level", "debug");
/// let options = KubernetesOptions::default().user(1000).config_map(files);
/// let config = WorkerConfig::builder("app").image("app:1").options(&options).build()?;
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ConfigMapOptions {
    /// The ConfigMap's name.
    pub name: String,
    /// The folder in the worker where its files are.
    pub path: String,
    /// Text by name of file. Together no more than 1 MiB.
    pub files: BTreeMap<String, String>,
}

impl ConfigMapOptions {
    /// A ConfigMap of this name, at this folder.
    pub fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self { name: name.into(), path: path.into(), files: BTreeMap::new() }
    }
    /// With this file.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.files.insert(name.into(), text.into());
        self
    }

    pub(super) fn validate(&self, path: &str, problems: &mut Problems) {
        let name = &self.name;
        problems.require(
            super::is_name(name),
            format!("{path}.name"),
            format!("`{name}` cannot be an object's name"),
        );
        problems.require(
            self.path.starts_with('/') && self.path.len() > 1 && !self.path.contains(':'),
            format!("{path}.path"),
            format!("`{}` is no absolute path of a folder", self.path),
        );
        validate_files(&self.files, &format!("{path}.files"), problems);
    }
}

/// What is wrong with files of a ConfigMap.
pub(crate) fn validate_files(files: &BTreeMap<String, String>, path: &str, problems: &mut Problems) {
    for name in files.keys() {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let fits = !name.is_empty() && name.len() <= 253 && name.bytes().all(good);
        problems.require(
            fits && name != "." && !name.starts_with(".."),
            format!("{path}.{name}"),
            "cannot be a file's name here: letters, digits, `-`, `_` and `.`",
        );
    }
    let size: usize = files.iter().map(|(name, text)| name.len() + text.len()).sum();
    problems.require(size <= LARGEST, path, format!("hold {size} bytes; a ConfigMap takes up to {LARGEST}"));
}
