use std::path::PathBuf;

use hodei_worker_core::settings::Problems;
use serde::{Deserialize, Serialize};

/// How the health of workers is checked by this host.
///
/// # Examples
/// ```
/// use hodei_worker::health::HealthSettings;
/// let settings: HealthSettings = serde_json::from_str(r#"{"tries_at_once": 16}"#)?;
/// assert_eq!((settings.tries_at_once, settings.tls_roots), (16, None));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HealthSettings {
    /// Tries at once, of all workers together, each with a connection or a command of its own. Others wait. Default: 64.
    pub tries_at_once: usize,
    /// A file of certificates (PEM) that those of HTTPS checks must come from. Default: none, and nobody's certificate is
    /// verified, as with the kubelet: a check asks whether the worker answers, not who it is.
    pub tls_roots: Option<PathBuf>,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self { tries_at_once: 64, tls_roots: None }
    }
}

impl HealthSettings {
    /// What is wrong with them.
    pub fn validate(&self, problems: &mut Problems) {
        problems.require(self.tries_at_once > 0, "tries_at_once", "must be at least 1");
    }
}
