mod form;
mod health;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

use super::{WorkerOptions, WorkerSpec};
use crate::{
    quantity::{ByteSize, Cpu},
    settings::{Problems, nearest, read_into},
};

pub(super) use form::check_form;

/// What a configuration must obey beyond its form.
///
/// # Examples
/// ```
/// use hodei_worker_core::{model::{ValidationRules, WorkerConfig, WorkerOptions}, quantity::Cpu};
/// #[derive(Debug, serde::Serialize, serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct NiceOptions { niceness: i8 }
/// impl WorkerOptions for NiceOptions {
///     const PROVIDER: &'static str = "nice";
/// }
/// let rules = ValidationRules::default().with_min_cpu(Cpu::from_millis(10)).with_options::<NiceOptions>();
/// let value = serde_json::json!({
///     "worker_id": "a", "command": ["true"], "resources": {"cpu_limit": "10m"}, "options": {"nic": {"niceness": 5}},
/// });
/// let error = WorkerConfig::from_value_with(&value, &rules).unwrap_err();
/// assert!(error.to_string().contains("options.nic: unknown provider `nic`; did you mean `nice`?"));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ValidationRules {
    /// The least CPU that may be asked for. Default: 0.1 cores.
    pub min_cpu: Cpu,
    /// The least memory limit: below it hardly a program starts. Default: 4 MiB.
    pub min_memory: ByteSize,
    options: BTreeMap<&'static str, fn(&Value, &mut Problems)>,
}

impl Default for ValidationRules {
    fn default() -> Self {
        Self { min_cpu: Cpu::from_millis(100), min_memory: ByteSize::mib(4), options: BTreeMap::new() }
    }
}

impl ValidationRules {
    /// These rules with another least CPU.
    #[must_use]
    pub fn with_min_cpu(mut self, min_cpu: Cpu) -> Self {
        self.min_cpu = min_cpu;
        self
    }
    /// These rules with another least memory limit.
    #[must_use]
    pub fn with_min_memory(mut self, min_memory: ByteSize) -> Self {
        self.min_memory = min_memory;
        self
    }
    /// These rules with one more provider whose options are known. As soon as there is one, options are read and
    /// checked, and those of an unknown provider refused.
    #[must_use]
    pub fn with_options<O: WorkerOptions>(mut self) -> Self {
        self.options.insert(O::PROVIDER, |value, problems| {
            let _ = read_into(value, problems, O::validate);
        });
        self
    }

    /// These rules with one more provider, which has no options.
    #[must_use]
    pub fn without_options(mut self, provider: &'static str) -> Self {
        self.options.insert(provider, |value, problems| {
            let empty = value.as_object().is_some_and(serde_json::Map::is_empty);
            problems.require(empty, "", "this provider has no options");
        });
        self
    }

    /// All that is wrong with the fields.
    pub fn check(&self, spec: &WorkerSpec) -> Problems {
        let mut problems = self.check_fields(spec);
        self.check_options(&spec.options, &mut problems);
        problems
    }

    /// What is wrong with the fields except the options of providers.
    pub(in crate::model) fn check_fields(&self, spec: &WorkerSpec) -> Problems {
        let mut problems = check_form(spec);
        let resources = &spec.resources;
        for (path, cpu) in [("cpu_request", resources.cpu_request), ("cpu_limit", resources.cpu_limit)] {
            if let Some(cpu) = cpu.filter(|cpu| *cpu < self.min_cpu && cpu.millis() > 0) {
                problems.add(
                    format!("resources.{path}"),
                    format!("{cpu} is below the minimum of {}", self.min_cpu),
                );
            }
        }
        if let Some(limit) = resources.memory_limit
            && limit < self.min_memory
            && limit.bytes() > 0
        {
            problems.add(
                "resources.memory_limit",
                format!("{limit} is below the minimum of {}", self.min_memory),
            );
        }
        problems
    }

    /// What is wrong with the options of providers, if any provider's are known.
    pub(in crate::model) fn check_options<'a>(
        &self,
        options: impl IntoIterator<Item = (&'a String, &'a Value)>,
        problems: &mut Problems,
    ) {
        if self.options.is_empty() {
            return;
        }
        for (provider, value) in options {
            let path = format!("options.{provider}");
            if let Some(check) = self.options.get(provider.as_str()) {
                let mut wrong = Problems::new();
                check(value, &mut wrong);
                problems.nest(&path, wrong);
                continue;
            }
            let known = || self.options.keys().copied();
            let choice = match nearest(provider, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are `{}`", known().collect::<Vec<_>>().join("`, `")),
            };
            problems.add(path, format!("unknown provider `{provider}`; {choice}"));
        }
    }
}
