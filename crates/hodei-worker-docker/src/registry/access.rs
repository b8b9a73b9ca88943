//! Which log-in is used for a registry, and what to say when it is refused.

use std::{
    io,
    path::{Path, PathBuf},
};

use hodei_worker_core::{
    Error, ErrorKind, Result,
    credential::{CredentialKind, CredentialProvider, CredentialVersion, RetrieveOptions, SecretKey},
    factory::Environment,
};
use http::HeaderValue;
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;

use super::{DockerConfig, LogIn, Registry, RegistryAuth, Text, config, header, helper};
use crate::{DockerSettings, context};

/// How a registry is spoken to: with a log-in, or without one. Lives as long as one request.
#[derive(Debug)]
pub(crate) struct Access {
    registry: Registry,
    header: Option<HeaderValue>,
    source: Source,
}

/// Where the log-in is from.
#[derive(Debug)]
enum Source {
    /// A secret of the host's credential provider.
    Secret(String),
    /// The file of Docker's own client.
    File(PathBuf),
    /// A credential helper.
    Helper(PathBuf),
    /// There is none; where it was looked for, as a sentence goes on.
    Nowhere(String),
}

/// A log-in that a secret holds in full.
#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow, default)]
    username: Option<Text<'a>>,
    #[serde(borrow, default)]
    password: Option<Text<'a>>,
    #[serde(borrow, default)]
    identitytoken: Option<Text<'a>>,
    #[serde(borrow, default)]
    registrytoken: Option<Text<'a>>,
}

impl Access {
    /// Looks for the log-in: in the setting `registries`, then in the configuration of Docker's own client.
    pub(crate) async fn find(
        settings: &DockerSettings,
        credentials: &dyn CredentialProvider,
        environment: &Environment,
        registry: Registry,
    ) -> Result<Self> {
        if let Some(auth) = settings.registries.get(registry.host()) {
            let log_in = from_secret(auth, credentials, &registry).await?;
            return Self::with(registry, Source::Secret(auth.secret.clone()), Some(log_in));
        }
        let folder = match &settings.docker_config {
            DockerConfig::Off => {
                let source = Source::Nowhere("`docker_config` is false".to_owned());
                return Self::with(registry, source, None);
            }
            DockerConfig::Folder(folder) => Some(folder.clone()),
            DockerConfig::Environment => context::config_dir(environment),
        };
        let Some(folder) = folder else {
            let source = Source::Nowhere("neither DOCKER_CONFIG nor HOME says where that is kept".to_owned());
            return Self::with(registry, source, None);
        };
        let file = folder.join("config.json");
        let known = match read(&file).await {
            Ok(text) => config::read(&text, &registry),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound => "does not exist".to_owned(),
                _ => format!("cannot be read: {error}"),
            }),
        };
        let shown = file.display();
        match known {
            Ok(config::Known::LogIn(log_in)) => Self::with(registry, Source::File(file), Some(log_in)),
            Ok(config::Known::Nothing) => {
                let source = Source::Nowhere(format!("`{shown}` has none for this registry"));
                Self::with(registry, source, None)
            }
            Ok(config::Known::Helper(name)) => {
                let program = helper::find(&name, environment.var("PATH"), &folder)?;
                match helper::ask(&program, &registry, helper::LIMIT).await? {
                    Some(log_in) => Self::with(registry, Source::Helper(program), Some(log_in)),
                    None => {
                        let nowhere = format!(
                            "the credential helper `{}`, which `{shown}` names, has none",
                            program.display()
                        );
                        Self::with(registry, Source::Nowhere(nowhere), None)
                    }
                }
            }
            // Most images need no log-in: a file that nobody has asked us to use must not stand in their way.
            Err(why) if settings.docker_config.is_default() => {
                Self::with(registry, Source::Nowhere(format!("`{shown}` {why}")), None)
            }
            Err(why) => {
                let error = Error::config("docker_config", format!("the file of the log-ins {why}"));
                Err(error.with_context("path", shown))
            }
        }
    }

    fn with(registry: Registry, source: Source, log_in: Option<LogIn>) -> Result<Self> {
        let header = log_in.map(|log_in| header::value(&log_in, &registry)).transpose()?;
        Ok(Self { registry, header, source })
    }

    /// The log-in as the engine takes it, if there is one.
    pub(crate) fn header(&self) -> Option<&HeaderValue> {
        self.header.as_ref()
    }

    /// A log-in that the registry does not know, where we have none: some engines answer to no log-in as they do to a
    /// registry that is not there.
    pub(crate) fn stranger(&self) -> Option<HeaderValue> {
        if self.header.is_some() { None } else { header::stranger(&self.registry) }
    }

    /// An error of the registry, with what to do about the log-in.
    pub(crate) fn refused(&self, error: Error) -> Error {
        let Self { registry, source, .. } = self;
        let error = error.with_context("registry", registry);
        let may = "may the user read the image? Many registries answer so to a name that does not exist, too";
        match source {
            Source::Secret(name) => error.with_context("secret", name).with_help(format!(
                "the log-in is the secret `{name}`, by the setting `registries.{registry}`: is it up to date, and {may}"
            )),
            Source::File(file) => error.with_context("log-in", file.display()).with_help(format!(
                "the log-in is from `{}`: log in again (`docker login {registry}`), or name a secret by the setting \
                 `registries`. If it is up to date, {may}",
                file.display()
            )),
            Source::Helper(program) => error.with_context("log-in", program.display()).with_help(format!(
                "the log-in is from the credential helper `{}`: log in again (`docker login {registry}`), or name a \
                 secret by the setting `registries`. If it is up to date, {may}",
                program.display()
            )),
            Source::Nowhere(looked) => error.with_help(format!(
                "there is no log-in: name a secret by the setting `registries.{registry}`, or log in by `docker login \
                 {registry}` as the user who runs this ({looked}). If no log-in is needed, is the image's name right?"
            )),
        }
    }
}

/// A whole file, overwritten when it is dropped.
async fn read(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    if tokio::fs::metadata(file).await?.len() > config::LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
    }
    tokio::fs::read(file).await.map(Zeroizing::new)
}

async fn from_secret(
    auth: &RegistryAuth,
    credentials: &dyn CredentialProvider,
    registry: &Registry,
) -> Result<LogIn> {
    let field = format!("registries.{registry}.secret");
    let key =
        SecretKey::new(&auth.secret).map_err(|error| Error::config(field.clone(), error.to_string()))?;
    let options = match &auth.version {
        Some(version) => RetrieveOptions::version(CredentialVersion::new(version)),
        None => RetrieveOptions::default(),
    };
    let found =
        credentials.retrieve_credential(&key, &options).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                Error::config(field.clone(), "the secret of the registry's log-in does not exist")
                    .with_context("secret", &auth.secret)
                    .with_help("store it with the credential provider, or correct the setting")
                    .with_source(error)
            }
            // The engine is well, and so is the registry.
            _ => error.with_context("needed for", format!("the log-in to `{registry}`")),
        })?;
    // A log-in of both parts says itself who it is of.
    let own = found.content.text("username").filter(|_| found.content.kind() == CredentialKind::Password);
    let user = auth.user.as_deref().or(own);
    let log_in = found.secret().expose_str().and_then(|text| log_in(user, text));
    log_in.ok_or_else(|| {
        let what = match &auth.user {
            Some(_) => "the secret of the registry's log-in is no password: it is empty or no text",
            None => "the secret of the registry's log-in holds no log-in",
        };
        let error = Error::config(field, what).with_context("secret", &auth.secret);
        match &auth.user {
            Some(_) => error,
            None => error.with_help(
                "store it as `user:password`, as JSON with `username` and `password` (or `identitytoken`), or store \
                 the password alone and set `user`",
            ),
        }
    })
}

/// What a secret says.
fn log_in(user: Option<&str>, text: &str) -> Option<LogIn> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if let Some(user) = user {
        return (!text.is_empty()).then(|| LogIn::Password { user: user.to_owned(), password: text.into() });
    }
    if !text.trim_start().starts_with('{') {
        let (user, password) =
            text.split_once(':').filter(|(user, password)| !user.is_empty() && !password.is_empty())?;
        return Some(LogIn::Password { user: user.to_owned(), password: password.into() });
    }
    let whole: Whole<'_> = serde_json::from_str(text).ok()?;
    let secret = |text: &Option<Text<'_>>| text.as_ref().and_then(Text::secret);
    if let Some(token) = secret(&whole.identitytoken) {
        return Some(LogIn::IdentityToken(token));
    }
    if let Some(token) = secret(&whole.registrytoken) {
        return Some(LogIn::RegistryToken(token));
    }
    let user =
        whole.username.as_ref().map(|user| user.as_str().to_owned()).filter(|user| !user.is_empty())?;
    Some(LogIn::Password { user, password: secret(&whole.password)? })
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::credential::MemoryCredentialProvider;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn d6_a_secret_holds_a_password_or_a_whole_log_in() {
        let json = r#"{"username": "ci", "password": "a:b", "note": "x"}"#;
        for (user, text, expected) in [
            (Some("ci"), "a:b\n", "ci a:b"),
            (Some("ci"), "{a", "ci {a"),
            (None, "ci:a:b\r\n", "ci a:b"),
            (None, json, "ci a:b"),
        ] {
            let Some(LogIn::Password { user, password }) = log_in(user, text) else { panic!("{text}") };
            assert_eq!(format!("{user} {}", password.expose_secret()), expected);
        }
        assert!(matches!(log_in(None, r#"{"identitytoken": "t"}"#), Some(LogIn::IdentityToken(_))));
        for bad in ["", "ci", ":pw", "ci:", "{", "{}", r#"{"username": "ci"}"#] {
            assert!(log_in(None, bad).is_none(), "{bad}");
        }
        assert!(log_in(Some("ci"), "\n").is_none());
    }

    async fn found(settings: &DockerSettings, environment: &Environment) -> Result<Access> {
        let secrets = MemoryCredentialProvider::new().with("bad", "hunter2").unwrap();
        Access::find(settings, &secrets, environment, Registry::of_key("a.example")).await
    }

    #[tokio::test]
    async fn d6_where_a_log_in_was_looked_for_is_told() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment::of([("HOME", "/h")], home.path());
        let refused =
            |access: Access| access.refused(Error::new(ErrorKind::Unauthenticated, "no")).to_string();
        let settings = DockerSettings::default();
        let told = refused(found(&settings, &environment).await.unwrap());
        assert!(told.contains("registries.a.example") && told.contains("does not exist"), "{told}");
        // What is damaged does not stand in the way, and is told where it matters.
        let folder = home.path().join("h/.docker");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), "{").unwrap();
        let told = refused(found(&settings, &environment).await.unwrap());
        assert!(told.contains("is damaged: it is no JSON (line 1"), "{told}");
        // Unless somebody has said to use it.
        let named = DockerSettings::default().with_docker_config(DockerConfig::Folder(folder.clone()));
        let error = found(&named, &environment).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        std::fs::write(folder.join("config.json"), r#"{"auths": {"a.example": {"auth": "Y2k6cHc="}}}"#)
            .unwrap();
        assert!(found(&settings, &environment).await.unwrap().header().is_some());
        let off = DockerSettings::default().with_docker_config(DockerConfig::Off);
        let access = found(&off, &environment).await.unwrap();
        assert!(access.header().is_none() && access.stranger().is_some());
        assert!(refused(access).contains("`docker_config` is false"));
        let told = refused(found(&settings, &Environment::of([("A", "b")], "/")).await.unwrap());
        assert!(told.contains("neither DOCKER_CONFIG nor HOME"), "{told}");
    }

    #[tokio::test]
    async fn d6_a_secret_that_is_no_log_in_is_a_setting_at_fault() {
        let environment = Environment::of([("HOME", "/h")], "/nowhere");
        for (secret, part) in [("none", "does not exist"), ("bad", "holds no log-in")] {
            let settings = DockerSettings::default().with_registry("a.example", RegistryAuth::secret(secret));
            let error = found(&settings, &environment).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            let told = format!("{error:?} {error:#}");
            assert!(told.contains(part) && told.contains("registries.a.example.secret"), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
