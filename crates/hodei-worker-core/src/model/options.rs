use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::settings::Problems;

/// Options of one provider that have no place in the common model, typed.
///
/// They are checked when they are set and kept as data, since a configuration outlives the process.
///
/// # Examples
/// ```
/// use hodei_worker_core::{model::{WorkerConfig, WorkerOptions}, settings::Problems};
/// #[derive(Debug, serde::Serialize, serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct NiceOptions { niceness: i8 }
/// impl WorkerOptions for NiceOptions {
///     const PROVIDER: &'static str = "nice";
///     fn validate(&self, problems: &mut Problems) {
///         problems.require((-20..20).contains(&self.niceness), "niceness", "must lie between -20 and 19");
///     }
/// }
/// let config = WorkerConfig::builder("a").command(["true"]).options(&NiceOptions { niceness: 5 }).build()?;
/// assert_eq!(config.options::<NiceOptions>()?.unwrap().niceness, 5);
/// assert!(WorkerConfig::builder("a").command(["true"]).options(&NiceOptions { niceness: 99 }).build().is_err());
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
pub trait WorkerOptions: Serialize + DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// The provider type that these options are for, `docker` for instance.
    const PROVIDER: &'static str;

    /// Adds what is wrong with the values.
    fn validate(&self, problems: &mut Problems) {
        let _ = problems;
    }
}
