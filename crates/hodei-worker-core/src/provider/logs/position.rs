use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A place in the output of one worker, behind which a reader goes on: [`LogOptions::after`](super::LogOptions::after).
///
/// It is a text that its provider understands, and nobody else. It outlives the host: store it, and what was read
/// before is not read again.
///
/// # Examples
/// ```
/// use hodei_worker_core::provider::{LogOptions, LogPosition};
/// let stored = serde_json::to_string(&LogPosition::new("7:1024"))?;
/// let options = LogOptions::following().after(serde_json::from_str(&stored)?);
/// assert_eq!(options.after.as_ref().map(LogPosition::as_str), Some("7:1024"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogPosition(Arc<str>);

impl LogPosition {
    /// A position, as its provider writes it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
