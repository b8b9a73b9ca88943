use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use hodei_worker_core::{
    ConnectContext, ProviderSettings, Result,
    factory::{Detected, Environment},
    model::ValidationRules,
    quantity::HumanDuration,
    settings::Problems,
};
use serde::{Deserialize, Serialize};

use crate::{
    DockerConfig, DockerProvider, RegistryAuth, SecurityPolicy, context, endpoint::Address, registry,
};

/// No engine is waited for longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Where the engine is and how it is used.
///
/// # Examples
/// ```
/// use hodei_worker_core::settings::read;
/// use hodei_worker_docker::DockerSettings;
/// let parsed = read::<DockerSettings>(&serde_json::json!({
///     "endpoint": "unix:///var/run/docker.sock",
///     "default_stop_grace": "10s",
/// }));
/// assert!(parsed.problems.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DockerSettings {
    /// `unix:///path`, `tcp://host:port`, `http://host:port` or `https://host:port`. Default: what `context` says, or
    /// else the variable `DOCKER_HOST`, the current Docker context, `/var/run/docker.sock`, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// A Docker context, as `docker context ls` names it, that says where the engine is and how to log in. Not
    /// together with `endpoint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Certificates for an engine that is reached by TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
    /// Time between the request to stop and the kill, where neither the call nor the worker says. Default: 4 s.
    pub default_stop_grace: HumanDuration,
    /// Time for a connection to come about, TLS included. Default: 5 s.
    pub connect_timeout: HumanDuration,
    /// Time for the engine to begin its answer, in whole seconds; a pull or a stop may take longer. Default: 60 s.
    pub request_timeout: HumanDuration,
    /// Over TCP: the silence after which a watch opens its event stream anew, since a connection can die without a sign.
    /// Nothing is asked on a Unix socket. Default: 60 s.
    pub silence_limit: HumanDuration,
    /// The engine's log driver for workers whose options name none. Default: `local`, which keeps every byte;
    /// `json-file` replaces what is not UTF-8.
    pub log_driver: String,
    /// Options of that log driver: `max-size`, `max-file`. Default: the driver's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub log_options: BTreeMap<String, String>,
    /// The address of the engine's machine on which published ports listen unless the port says otherwise. On another
    /// machine than this one, the default can be reached from there alone, and a status does not show it. Default:
    /// 127.0.0.1.
    pub published_address: IpAddr,
    /// What workers may ask for, and what they get where they leave it open. Default: no policy, so a container is what
    /// the engine makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<SecurityPolicy>,
    /// Folder below which secrets are put for workers, held in memory and seen by the engine under the same path. Set
    /// it where the engine says that it runs on another machine and a Unix socket leads there all the same, from
    /// inside a container for instance. Default, on an engine of this machine: one of ours below the first of `/run`, `$XDG_RUNTIME_DIR` and `/dev/shm` that is held in memory and where it can be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets_dir: Option<PathBuf>,
    /// Log-ins to registries, by `host` or `host:port`; `docker.io` is Docker Hub. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub registries: BTreeMap<String, RegistryAuth>,
    /// Whether the log-ins of Docker's own client are used for the other registries, with its credential helpers, which
    /// are programs that run here: `true`, `false`, or the folder of its `config.json`. Default: `true`, the folder that
    /// `DOCKER_CONFIG` names, or else `~/.docker`, if there is one.
    #[serde(skip_serializing_if = "DockerConfig::is_default")]
    pub docker_config: DockerConfig,
}

impl Default for DockerSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            context: None,
            tls: None,
            default_stop_grace: HumanDuration::secs(4),
            connect_timeout: HumanDuration::secs(5),
            request_timeout: HumanDuration::secs(60),
            silence_limit: HumanDuration::secs(60),
            log_driver: "local".to_owned(),
            log_options: BTreeMap::new(),
            published_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            security: None,
            secrets_dir: None,
            registries: BTreeMap::new(),
            docker_config: DockerConfig::default(),
        }
    }
}

impl DockerSettings {
    /// The engine at this endpoint, otherwise the defaults.
    pub fn at(endpoint: impl Into<String>) -> Self {
        Self { endpoint: Some(endpoint.into()), ..Self::default() }
    }
    /// The engine of this Docker context, otherwise the defaults.
    pub fn in_context(name: impl Into<String>) -> Self {
        Self { context: Some(name.into()), ..Self::default() }
    }
    /// With this policy of what workers may ask for.
    #[must_use]
    pub fn with_security(mut self, policy: SecurityPolicy) -> Self {
        self.security = Some(policy);
        self
    }
    /// With these certificates.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsSettings) -> Self {
        self.tls = Some(tls);
        self
    }
}

/// Files in PEM form for TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsSettings {
    /// The certificates of those who may vouch for the engine. No others are trusted, the system's neither.
    pub ca: PathBuf,
    /// Our certificate, with its chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The private key of our certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl TlsSettings {
    /// The files `ca.pem`, `cert.pem` and `key.pem` of a folder, as Docker names them.
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_docker::{DockerSettings, TlsSettings};
    /// let tls = TlsSettings::in_folder("/etc/docker/certs");
    /// let settings = DockerSettings::at("tcp://docker.example.com:2376").with_tls(tls);
    /// # assert!(settings.tls.is_some());
    /// ```
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self {
            ca: folder.join("ca.pem"),
            cert: Some(folder.join("cert.pem")),
            key: Some(folder.join("key.pem")),
        }
    }
}

impl ProviderSettings for DockerSettings {
    const TYPE: &'static str = "docker";
    type Provider = DockerProvider;

    fn rules(rules: ValidationRules) -> ValidationRules {
        rules.with_options::<crate::DockerOptions>()
    }

    fn validate(&self, problems: &mut Problems) {
        if let Some(endpoint) = &self.endpoint {
            if let Err(why) = Address::parse(endpoint) {
                problems.add("endpoint", why);
            }
            problems.require(self.context.is_none(), "context", "say either `endpoint` or `context`");
        }
        if let Some(context) = &self.context {
            problems.require(!context.is_empty(), "context", "the name is empty");
        }
        if let Some(tls) = &self.tls {
            problems.require(
                tls.cert.is_some() == tls.key.is_some(),
                "tls",
                "`cert` and `key` belong together",
            );
        }
        for (path, value) in [
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
            ("silence_limit", self.silence_limit),
        ] {
            problems.require(!value.is_zero(), path, "must be longer than 0");
            problems.require(value.get() <= LONGEST, path, "must not be longer than a day");
        }
        problems.require(
            self.request_timeout.subsec_nanos() == 0,
            "request_timeout",
            "must be a number of whole seconds",
        );
        problems.require(!self.log_driver.is_empty(), "log_driver", "the driver's name is empty");
        if let Some(policy) = &self.security {
            policy.validate(problems);
        }
        if let Some(dir) = &self.secrets_dir {
            problems.require(dir.is_absolute(), "secrets_dir", "must be an absolute path");
        }
        registry::validate(self, problems);
    }

    fn detect(environment: &Environment) -> Option<Detected<Self>> {
        let (settings, reason) = context::detect(environment)?;
        Some(Detected::new(settings, reason).with_priority(20))
    }

    async fn connect(self, context: ConnectContext) -> Result<DockerProvider> {
        DockerProvider::connect(self, context).await
    }
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::{ProviderConfig, ProviderFactory};
    use serde_json::json;

    use super::*;

    fn problems(settings: serde_json::Value) -> String {
        let factory = ProviderFactory::default().with::<DockerSettings>();
        let config =
            ProviderConfig::from_value(&json!({"name": "d", "type": "docker", "settings": settings}));
        factory.validate(&config.unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn p2_an_unknown_field_names_the_nearest() {
        assert!(problems(json!({"endpiont": "unix:///x"})).contains("did you mean `endpoint`?"));
    }

    #[test]
    fn p2_everything_wrong_is_told_at_once() {
        let text = problems(json!({
            "endpoint": "ftp://x", "context": "c", "connect_timeout": "0", "request_timeout": "1500ms",
            "tls": {"ca": "/ca.pem", "cert": "/cert.pem"}, "secrets_dir": "here",
        }));
        for part in ["endpoint:", "context:", "connect_timeout:", "request_timeout:", "tls:", "secrets_dir:"]
        {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn p2_a_time_that_no_clock_holds_is_refused() {
        let settings = DockerSettings { silence_limit: Duration::MAX.into(), ..DockerSettings::default() };
        let mut problems = Problems::new();
        settings.validate(&mut problems);
        assert!(problems.to_string().contains("silence_limit"), "{problems}");
    }

    #[test]
    fn p2_the_defaults_are_good() {
        let mut problems = Problems::new();
        DockerSettings::default().validate(&mut problems);
        assert!(problems.is_empty(), "{problems}");
    }
}
