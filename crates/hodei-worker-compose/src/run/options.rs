use std::time::Duration;

/// How a project is brought up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UpOptions {
    /// Only these services, with those that they depend on. Default: all.
    pub services: Vec<String>,
    /// Whether it is done only when what has a health check is healthy. What another service waits for to end well may
    /// have done so instead, and what was seen healthy may have since. Default: true.
    pub wait: bool,
    /// The time for all of it. Default: none.
    pub timeout: Option<Duration>,
    /// Whether workers of services are removed that the project does not have any more. Default: false.
    pub remove_orphans: bool,
    /// Whether workers are made anew of which nothing has changed, neither configuration nor image. Default: false.
    pub force_recreate: bool,
    /// How many workers are made at once. Default: 8.
    pub parallelism: usize,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            wait: true,
            timeout: None,
            remove_orphans: false,
            force_recreate: false,
            parallelism: 8,
        }
    }
}

impl UpOptions {
    /// Only this service too, with those that it depends on.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.services.push(service.into());
        self
    }
}

/// How a project is taken down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownOptions {
    /// Whether its volumes go too: see [`Composition::down`](crate::Composition::down). Default: false.
    pub volumes: bool,
    /// Time between the request to stop and the kill. Default: each service's own.
    pub grace: Option<Duration>,
    /// Whether workers of services go too that the project does not have any more. Default: false.
    pub remove_orphans: bool,
}

impl DownOptions {
    /// With its volumes.
    pub fn with_volumes() -> Self {
        Self { volumes: true, ..Self::default() }
    }
}
