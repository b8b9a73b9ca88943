use std::time::Duration;

/// How a store in a file works.
///
/// # Examples
/// ```
/// use hodei_worker_store::FileSettings;
/// let settings = FileSettings::default().cache_bytes(64 << 20);
/// assert_eq!(settings.cache_bytes, 64 << 20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSettings {
    /// How long a commit waits for more writers, when there have been several: one commit for many is what makes many
    /// fast. A writer that is alone never waits. Default: 60 µs.
    pub gather: Duration,
    /// How many batches may wait to be written; more writers than that wait in front. Default: 1,024.
    pub queue: usize,
    /// The engine's cache, in bytes. Default: 8 MiB.
    pub cache_bytes: usize,
    /// Whether the folder and the store are made where they are not there. Default: yes.
    pub create: bool,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self { gather: Duration::from_micros(60), queue: 1024, cache_bytes: 8 << 20, create: true }
    }
}

impl FileSettings {
    /// Sets how long a commit waits for more writers.
    #[must_use]
    pub fn gather(mut self, gather: Duration) -> Self {
        self.gather = gather;
        self
    }
    /// Sets how many batches may wait to be written; at least one.
    #[must_use]
    pub fn queue(mut self, queue: usize) -> Self {
        self.queue = queue.max(1);
        self
    }
    /// Sets the engine's cache, in bytes.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }
    /// Sets whether the folder and the store are made where they are not there.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }
}
