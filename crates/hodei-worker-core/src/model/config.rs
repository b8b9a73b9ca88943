use std::{collections::BTreeMap, fmt::Write as _, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    ContainerImage, HealthCheckConfig, Mount, NetworkAttachment, Port, ResourceRequirements, RestartPolicy,
    ScalingConfiguration, SecretReference, ValidationRules, WorkerConfigBuilder, WorkerId, WorkerMetadata,
    WorkerOptions, validate::check_form,
};
use crate::{
    error::{Error, ErrorKind, Result},
    lifecycle::RecoverySettings,
    quantity::HumanDuration,
    settings::{Problems, read_into},
};

/// The fields of a worker's configuration, not checked yet. [`WorkerConfig`] is the checked, immutable form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WorkerSpec {
    /// The worker's name.
    pub worker_id: WorkerId,
    /// The image that it runs in, where the provider runs images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ContainerImage>,
    /// Program and first arguments; replaces an image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Further arguments; replace an image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Absolute path of the folder that it starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// What it needs and may use.
    #[serde(default, skip_serializing_if = "ResourceRequirements::is_empty")]
    pub resources: ResourceRequirements,
    /// Environment variables. They show wherever the configuration shows: secrets belong into `secrets`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Secrets that it gets at each start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretReference>,
    /// Storage from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Networks that it is on. Default: what the provider does with a worker that names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkAttachment>,
    /// Ports that are reachable from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// How its health is found out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<HealthCheckConfig>,
    /// Whether it says on its standard output when it is busy or idle, and that it lives. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reports: bool,
    /// What the manager does when it ends. Default: the template's, or else nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// How the manager brings it back when it failed. Default: the manager's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoverySettings>,
    /// How many of its group there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingConfiguration>,
    /// Time that it gets between the request to stop and the kill. Default: the provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace: Option<HumanDuration>,
    /// Group, labels, priority.
    #[serde(default)]
    pub metadata: WorkerMetadata,
    /// Typed options of providers, by provider type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Value>,
}

impl WorkerSpec {
    /// A configuration of nothing but a name.
    pub fn new(worker_id: WorkerId) -> Self {
        Self {
            worker_id,
            image: None,
            command: Vec::new(),
            args: Vec::new(),
            working_dir: None,
            resources: ResourceRequirements::default(),
            environment: BTreeMap::new(),
            secrets: Vec::new(),
            mounts: Vec::new(),
            networks: Vec::new(),
            ports: Vec::new(),
            health_checks: Vec::new(),
            reports: false,
            restart_policy: None,
            recovery: None,
            scaling: None,
            stop_grace: None,
            metadata: WorkerMetadata::default(),
            options: BTreeMap::new(),
        }
    }
}

/// A worker's configuration: checked when it is made, immutable, cheap to clone.
///
/// # Examples
/// ```
/// use hodei_worker_core::model::WorkerConfig;
/// let config = WorkerConfig::builder("build-42")
///     .command(["cargo", "build"])
///     .cpu_limit("1.5")
///     .memory_limit("512Mi")
///     .env("RUST_LOG", "info")
///     .build()?;
/// assert_eq!(config.environment["RUST_LOG"], "info");
///
/// let error = WorkerConfig::builder("Build 42").command(["make"]).cpu_limit("lots").build().unwrap_err();
/// assert_eq!(error.problems().unwrap().len(), 2); // the id and the limit
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerConfig(Arc<WorkerSpec>);

impl WorkerConfig {
    /// Begins a configuration. Bad values are collected and reported together by `build`.
    pub fn builder(worker_id: impl Into<String>) -> WorkerConfigBuilder {
        WorkerConfigBuilder::new(worker_id)
    }

    /// Checks the fields.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with every problem and the path of its field.
    pub fn new(spec: WorkerSpec) -> Result<Self> {
        Self::with_rules(spec, &ValidationRules::default())
    }

    /// Checks the fields by rules of the host's own.
    ///
    /// # Errors
    /// As [`WorkerConfig::new`].
    pub fn with_rules(spec: WorkerSpec, rules: &ValidationRules) -> Result<Self> {
        rules.check(&spec).into_result()?;
        Ok(Self(Arc::new(spec)))
    }

    /// Reads and checks a configuration from data, reporting all that is wrong at once: unknown fields, values
    /// of the wrong form, values that do not fit together.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with every problem and the path of its field.
    pub fn from_value(value: &Value) -> Result<Self> {
        Self::from_value_with(value, &ValidationRules::default())
    }

    /// Reads and checks a configuration by rules of the host's own. With
    /// [`ValidationRules::with_options`] the providers' options are read and checked too.
    ///
    /// # Errors
    /// As [`WorkerConfig::from_value`].
    pub fn from_value_with(value: &Value, rules: &ValidationRules) -> Result<Self> {
        let mut problems = Problems::new();
        let spec = read_spec(value, &mut problems, |spec| rules.check_fields(spec));
        // From the data, so that they are checked even where the rest cannot be read.
        if let Some(Value::Object(options)) = value.get("options") {
            rules.check_options(options, &mut problems);
        }
        Self::of(spec, problems)
    }

    fn of(spec: Option<WorkerSpec>, problems: Problems) -> Result<Self> {
        match spec {
            Some(spec) if problems.is_empty() => Ok(Self(Arc::new(spec))),
            _ => Err(problems.into()),
        }
    }

    /// The fields, to change some and check them again.
    pub fn to_spec(&self) -> WorkerSpec {
        WorkerSpec::clone(&self.0)
    }

    /// The same with other health checks.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when one is wrong in itself.
    pub fn with_health_checks(&self, checks: Vec<HealthCheckConfig>) -> Result<Self> {
        let mut spec = self.to_spec();
        spec.health_checks = checks;
        check_form(&spec).into_result()?;
        Ok(Self(Arc::new(spec)))
    }

    /// The typed options for one provider, if some are set.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when they do not fit the type.
    pub fn options<O: WorkerOptions>(&self) -> Result<Option<O>> {
        let Some(value) = self.0.options.get(O::PROVIDER) else { return Ok(None) };
        let mut problems = Problems::new();
        let options = read_into(value, &mut problems, O::validate);
        let mut nested = Problems::new();
        nested.nest(&format!("options.{}", O::PROVIDER), problems);
        nested.into_result().map(|()| options)
    }

    /// What the manager does when it ends; nothing, if neither the worker nor its template says.
    pub fn restart_policy(&self) -> RestartPolicy {
        self.0.restart_policy.unwrap_or_default()
    }

    /// Program and arguments together, as a provider without images runs them.
    pub fn command_line(&self) -> impl Iterator<Item = &str> {
        self.0.command.iter().chain(&self.0.args).map(String::as_str)
    }

    /// 32 hexadecimal digits that are equal for equal configurations, in every process and version.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        match serde_json::to_value(&*self.0) {
            Ok(value) => write_canonical(&value, &mut text),
            // No configuration is known that cannot be data; if there is one, it shares its fingerprint with no other.
            Err(_) => text = format!("{:?}", self.0),
        }
        let digest = Sha256::digest(text.as_bytes());
        digest[..16].iter().fold(String::with_capacity(32), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Writes the value in the one form that equal values have: the order of a map's fields is that of their names, and not
/// that in which they came, which a feature of `serde_json` somewhere in the host may keep.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            text.push('{');
            for (name, value) in fields.iter().collect::<BTreeMap<_, _>>() {
                let _ = write!(text, "{}:", Value::from(name.as_str()));
                write_canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

fn read_spec(
    value: &Value,
    problems: &mut Problems,
    check: impl FnOnce(&WorkerSpec) -> Problems,
) -> Option<WorkerSpec> {
    read_into(value, problems, |spec: &WorkerSpec, problems| {
        let image_is_wrong = spec.image.is_none() && value.get("image").is_some_and(|image| !image.is_null());
        for problem in check(spec).iter() {
            // An image that cannot be read is told already; it is not missing.
            if !(image_is_wrong && problem.path == "command") {
                problems.add(problem.path.clone(), problem.message.clone());
            }
        }
    })
}

impl Deref for WorkerConfig {
    type Target = WorkerSpec;
    fn deref(&self) -> &WorkerSpec {
        &self.0
    }
}

impl Serialize for WorkerConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Stored configurations were made by rules that the reader does not know: only their form is checked.
impl<'de> Deserialize<'de> for WorkerConfig {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let mut problems = Problems::new();
        let spec = read_spec(&value, &mut problems, check_form);
        Self::of(spec, problems).map_err(serde::de::Error::custom)
    }
}

impl TryFrom<WorkerSpec> for WorkerConfig {
    type Error = Error;
    fn try_from(spec: WorkerSpec) -> Result<Self> {
        Self::new(spec)
    }
}

impl WorkerSpec {
    /// The port of this name. Where it is reachable, the status tells by
    /// [`address_of`](crate::WorkerStatus::address_of).
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.name.as_deref() == Some(name))
    }

    /// Sets the typed options for one provider.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a value is wrong.
    pub fn set_options<O: WorkerOptions>(&mut self, options: &O) -> Result<()> {
        let mut problems = Problems::new();
        options.validate(&mut problems);
        let mut nested = Problems::new();
        nested.nest(&format!("options.{}", O::PROVIDER), problems);
        nested.into_result()?;
        let value = serde_json::to_value(options).map_err(|error| {
            Error::new(ErrorKind::Config, "the options cannot be kept as data")
                .with_context("provider", O::PROVIDER)
                .with_source(error)
        })?;
        self.options.insert(O::PROVIDER.to_owned(), value);
        Ok(())
    }
}
