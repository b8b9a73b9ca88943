use std::fmt::Display;

use super::{
    ContainerImage, GroupRef, HealthCheckConfig, Mount, NetworkAttachment, Port, RestartPolicy,
    ScalingConfiguration, SecretReference, ValidationRules, WorkerConfig, WorkerId, WorkerOptions,
    WorkerSpec,
};
use crate::{
    error::Result,
    lifecycle::RecoverySettings,
    quantity::{ByteSize, Cpu, HumanDuration},
    settings::Problems,
};

/// Makes a [`WorkerConfig`] step by step. A bad value does not stop it: `build` reports all of them.
#[derive(Debug, Clone)]
#[must_use = "nothing is made before `build`"]
pub struct WorkerConfigBuilder {
    spec: WorkerSpec,
    problems: Problems,
}

impl WorkerConfigBuilder {
    pub(super) fn new(worker_id: impl Into<String>) -> Self {
        let mut problems = Problems::new();
        let id = WorkerId::new(worker_id.into()).unwrap_or_else(|error| {
            problems.add("worker_id", error.to_string());
            placeholder()
        });
        Self { spec: WorkerSpec::new(id), problems }
    }

    /// Goes on from fields that are set already.
    pub fn from_spec(spec: WorkerSpec) -> Self {
        Self { spec, problems: Problems::new() }
    }

    fn take<T: TryInto<V, Error: Display>, V>(&mut self, path: &str, value: T) -> Option<V> {
        value.try_into().map_err(|error| self.problems.add(path, error.to_string())).ok()
    }

    /// The image that it runs in.
    pub fn image(mut self, image: impl TryInto<ContainerImage, Error: Display>) -> Self {
        self.spec.image = self.take("image", image);
        self
    }
    /// Program and arguments.
    pub fn command<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.spec.command = command.into_iter().map(Into::into).collect();
        self
    }
    /// Further arguments.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.spec.args = args.into_iter().map(Into::into).collect();
        self
    }
    /// The folder that it starts in.
    pub fn working_dir(mut self, path: impl Into<String>) -> Self {
        self.spec.working_dir = Some(path.into());
        self
    }
    /// CPU that is set aside for it: `500m`, `1.5`.
    pub fn cpu_request(mut self, cpu: impl TryInto<Cpu, Error: Display>) -> Self {
        self.spec.resources.cpu_request = self.take("resources.cpu_request", cpu);
        self
    }
    /// CPU that it may use at most: `500m`, `1.5`.
    pub fn cpu_limit(mut self, cpu: impl TryInto<Cpu, Error: Display>) -> Self {
        self.spec.resources.cpu_limit = self.take("resources.cpu_limit", cpu);
        self
    }
    /// Memory that is set aside for it: `512Mi`.
    pub fn memory_request(mut self, size: impl TryInto<ByteSize, Error: Display>) -> Self {
        self.spec.resources.memory_request = self.take("resources.memory_request", size);
        self
    }
    /// Memory at which it is killed: `512Mi`.
    pub fn memory_limit(mut self, size: impl TryInto<ByteSize, Error: Display>) -> Self {
        self.spec.resources.memory_limit = self.take("resources.memory_limit", size);
        self
    }
    /// Processes and threads that it may have at once.
    pub fn pids_limit(mut self, pids: u64) -> Self {
        self.spec.resources.pids_limit = Some(pids);
        self
    }
    /// Adds an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.environment.insert(name.into(), value.into());
        self
    }
    /// Passes a variable of this program on, with the value that it has now; of one that is not set nothing is said. Not for
    /// secrets: what is in the environment stands in the event log and is shown by whoever shows the worker.
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_core::WorkerConfig;
    ///
    /// let config = WorkerConfig::builder("a").command(["build"]).env_from_host("PATH").env_from_host("NO_SUCH").build()?;
    /// assert_eq!(config.environment.get("PATH").cloned(), std::env::var("PATH").ok());
    /// assert!(!config.environment.contains_key("NO_SUCH"));
    /// # Ok::<_, hodei_worker_core::Error>(())
    /// ```
    pub fn env_from_host(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        if name.is_empty() || name.contains(['=', '\0']) {
            self.problems.add("environment", format!("`{name}` cannot be a variable's name"));
            return self;
        }
        match std::env::var_os(&name).map(std::ffi::OsString::into_string) {
            Some(Ok(value)) => {
                self.spec.environment.insert(name, value);
            }
            Some(Err(_)) => {
                let field = format!("environment.{name}");
                self.problems.add(&field, "this program's own variable of that name is no text");
            }
            None => {}
        }
        self
    }
    /// Adds a secret.
    pub fn secret(mut self, secret: SecretReference) -> Self {
        self.spec.secrets.push(secret);
        self
    }
    /// Adds a mount.
    pub fn mount(mut self, mount: Mount) -> Self {
        self.spec.mounts.push(mount);
        self
    }
    /// Adds a network.
    pub fn network(mut self, network: NetworkAttachment) -> Self {
        self.spec.networks.push(network);
        self
    }
    /// Adds a port.
    pub fn port(mut self, port: Port) -> Self {
        self.spec.ports.push(port);
        self
    }
    /// Adds a health check.
    pub fn health_check(mut self, check: HealthCheckConfig) -> Self {
        self.spec.health_checks.push(check);
        self
    }
    /// It says on its standard output when it is busy or idle, and that it lives: `::hodei busy`, `::hodei idle` and
    /// `::hodei heartbeat`, each on a line of its own.
    pub fn reports(mut self) -> Self {
        self.spec.reports = true;
        self
    }
    /// What the manager does when it ends.
    pub fn restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.spec.restart_policy = Some(policy);
        self
    }
    /// How the manager brings it back when it failed.
    pub fn recovery(mut self, settings: RecoverySettings) -> Self {
        self.spec.recovery = Some(settings);
        self
    }
    /// How many of its group there are.
    pub fn scaling(mut self, scaling: ScalingConfiguration) -> Self {
        self.spec.scaling = Some(scaling);
        self
    }
    /// Time between the request to stop and the kill.
    pub fn stop_grace(mut self, grace: impl TryInto<HumanDuration, Error: Display>) -> Self {
        self.spec.stop_grace = self.take("stop_grace", grace);
        self
    }
    /// The group that it belongs to.
    pub fn worker_type(mut self, group: impl TryInto<GroupRef, Error: Display>) -> Self {
        self.spec.metadata.worker_type = self.take("metadata.worker_type", group);
        self
    }
    /// Adds a label.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.metadata.labels.insert(name.into(), value.into());
        self
    }
    /// Sets the typed options for one provider.
    pub fn options<O: WorkerOptions>(mut self, options: &O) -> Self {
        if let Err(error) = self.spec.set_options(options) {
            match error.problems() {
                Some(problems) => self.problems.nest("", problems.clone()),
                None => self.problems.add(format!("options.{}", O::PROVIDER), error.to_string()),
            }
        }
        self
    }

    /// The configuration, checked.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) with every problem and the path of its field.
    pub fn build(self) -> Result<WorkerConfig> {
        self.build_with(&ValidationRules::default())
    }

    /// The configuration, checked by rules of the host's own.
    ///
    /// # Errors
    /// As [`WorkerConfigBuilder::build`].
    pub fn build_with(self, rules: &ValidationRules) -> Result<WorkerConfig> {
        let Self { spec, mut problems } = self;
        // An image that was refused is told already; it is not missing.
        let image_is_wrong = spec.image.is_none() && problems.iter().any(|problem| problem.path == "image");
        for problem in
            rules.check(&spec).iter().filter(|problem| !(image_is_wrong && problem.path == "command"))
        {
            problems.add(problem.path.clone(), problem.message.clone());
        }
        problems.into_result()?;
        WorkerConfig::with_rules(spec, rules)
    }
}

/// Stands in for an id that was refused; a configuration with it is never built.
fn placeholder() -> WorkerId {
    #[allow(clippy::expect_used)] // A literal that the tests below check.
    WorkerId::new("refused").expect("a valid id")
}
