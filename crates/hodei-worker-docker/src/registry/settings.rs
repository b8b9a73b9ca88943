use std::{fmt, path::PathBuf};

use hodei_worker_core::{credential::SecretKey, model::ContainerImage, settings::Problems};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::DockerSettings;

/// How to log in to a registry: which secret of the host's
/// [`CredentialProvider`](hodei_worker_core::credential::CredentialProvider) holds the password. It is read anew for
/// each request that needs it.
///
/// # Examples
/// ```
/// use hodei_worker_core::settings::read;
/// use hodei_worker_docker::DockerSettings;
/// let parsed = read::<DockerSettings>(&serde_json::json!({
///     "registries": { "registry.example:5000": { "user": "ci", "secret": "prod/registry" } },
/// }));
/// assert!(parsed.problems.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RegistryAuth {
    /// The user's name. Then the secret is the password alone. Default: the secret says it, either as
    /// `user:password` or as a JSON object with `username` and `password`, or with `identitytoken` or `registrytoken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The key under which the credential provider keeps the secret. One line feed at its end is no part of it.
    pub secret: String,
    /// A version, where the latest will not do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl RegistryAuth {
    /// The log-in of this user, whose password is the newest version of this secret.
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_docker::{DockerSettings, RegistryAuth};
    /// let auth = RegistryAuth::password("ci", "prod/registry");
    /// let settings = DockerSettings::default().with_registry("registry.example", auth);
    /// # assert_eq!(settings.registries.len(), 1);
    /// ```
    pub fn password(user: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { user: Some(user.into()), secret: secret.into(), version: None }
    }
    /// The log-in that the newest version of this secret holds in full: `user:password`, or a JSON object.
    pub fn secret(secret: impl Into<String>) -> Self {
        Self { user: None, secret: secret.into(), version: None }
    }
}

/// Whether the log-ins of Docker's own client are used: what `docker login` has written into its `config.json`, and the
/// credential helpers that are named there.
///
/// In settings: `true`, `false`, or a folder as text.
///
/// # Examples
/// ```
/// use hodei_worker_docker::{DockerConfig, DockerSettings};
/// let settings = DockerSettings::default().with_docker_config(DockerConfig::Off);
/// assert_eq!(serde_json::to_value(&settings)?["docker_config"], false);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DockerConfig {
    /// Those of the folder that `DOCKER_CONFIG` names, or else of `~/.docker`, where there is one. The default.
    #[default]
    Environment,
    /// Those of this folder, where there must be a `config.json`.
    Folder(PathBuf),
    /// None.
    Off,
}

impl DockerConfig {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Serialize for DockerConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Environment => serializer.serialize_bool(true),
            Self::Off => serializer.serialize_bool(false),
            Self::Folder(folder) => folder.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for DockerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl de::Visitor<'_> for Either {
            type Value = DockerConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or the folder of a Docker client's `config.json`")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<DockerConfig, E> {
                Ok(if on { DockerConfig::Environment } else { DockerConfig::Off })
            }
            fn visit_str<E: de::Error>(self, folder: &str) -> Result<DockerConfig, E> {
                Ok(DockerConfig::Folder(folder.into()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl DockerSettings {
    /// Logs in to this registry so: `host` or `host:port`, `docker.io` for Docker Hub.
    #[must_use]
    pub fn with_registry(mut self, host: impl Into<String>, auth: RegistryAuth) -> Self {
        self.registries.insert(host.into(), auth);
        self
    }
    /// Uses the log-ins of Docker's own client so.
    #[must_use]
    pub fn with_docker_config(mut self, config: DockerConfig) -> Self {
        self.docker_config = config;
        self
    }
}

/// What is wrong with the settings about registries.
pub(crate) fn validate(settings: &DockerSettings, problems: &mut Problems) {
    for (host, auth) in &settings.registries {
        let path = |field: &str| format!("registries.{host}{field}");
        if let Err(why) = check_host(host) {
            problems.add(path(""), why);
        }
        if let Err(why) = SecretKey::new(&auth.secret) {
            problems.add(path(".secret"), why.to_string());
        }
        if let Some(user) = &auth.user {
            let good = !user.is_empty() && !user.contains(':') && !user.contains(char::is_control);
            problems.require(good, path(".user"), "a user's name has no colon and is not empty");
        }
    }
    if let DockerConfig::Folder(folder) = &settings.docker_config {
        problems.require(folder.is_absolute(), "docker_config", "must be an absolute path, true or false");
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if host == "index.docker.io" {
        return Err("Docker Hub is `docker.io` here".to_owned());
    }
    if host.contains("://") || host.contains('/') {
        return Err("write `host` or `host:port` alone, without scheme and path".to_owned());
    }
    // A registry is what can stand before an image's name.
    let image = format!("{host}/a:1").parse::<ContainerImage>();
    let is_host = host.contains(['.', ':']) || host == "localhost";
    match image {
        Ok(_) if is_host => Ok(()),
        _ => Err("is no registry: write `host` or `host:port`, `docker.io` for Docker Hub".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::{ProviderSettings as _, settings::read};
    use serde_json::json;

    use super::*;

    #[test]
    fn d6_settings_of_registries_are_checked() {
        let good = DockerSettings::default()
            .with_registry("docker.io", RegistryAuth::secret("hub"))
            .with_registry("[::1]:5000", RegistryAuth::password("ci", "prod/registry"))
            .with_docker_config(DockerConfig::Folder("/etc/docker-client".into()));
        let mut problems = Problems::new();
        good.validate(&mut problems);
        assert!(problems.is_empty(), "{problems}");
        let bad = DockerSettings::default()
            .with_registry("https://x.example", RegistryAuth::secret("a"))
            .with_registry("index.docker.io", RegistryAuth::secret("a"))
            .with_registry("x", RegistryAuth::secret("a"))
            .with_registry("y.example", RegistryAuth::password("a:b", "no key"))
            .with_docker_config(DockerConfig::Folder("here".into()));
        let mut problems = Problems::new();
        bad.validate(&mut problems);
        for part in [
            "registries.https://x.example: write",
            "registries.index.docker.io: Docker Hub is",
            "registries.x: is no registry",
            "registries.y.example.user:",
            "registries.y.example.secret:",
            "docker_config:",
        ] {
            assert!(problems.to_string().contains(part), "{part} is missing in {problems}");
        }
    }

    #[test]
    fn d6_the_switch_is_a_word_or_a_folder() {
        for (text, config) in [
            (json!(true), DockerConfig::Environment),
            (json!(false), DockerConfig::Off),
            (json!("/x"), DockerConfig::Folder("/x".into())),
        ] {
            assert_eq!(serde_json::from_value::<DockerConfig>(text.clone()).unwrap(), config);
            assert_eq!(serde_json::to_value(&config).unwrap(), text);
        }
        let parsed = read::<DockerSettings>(&json!({"docker_config": 1}));
        assert!(parsed.problems.to_string().contains("true, false, or the folder"), "{}", parsed.problems);
    }
}
