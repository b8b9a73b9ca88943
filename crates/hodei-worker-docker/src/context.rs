//! Finding the engine as Docker's own client does: `DOCKER_HOST`, then the current context, then the usual socket.

use std::path::{Path, PathBuf};

use hodei_worker_core::{Error, Result, factory::Environment};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{
    DockerSettings, TlsSettings,
    endpoint::{Address, Endpoint},
};

/// Where an engine is when nobody says anything.
pub(crate) const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// `~/.docker/config.json`, what we need of it.
#[derive(Deserialize)]
struct ClientConfig {
    #[serde(rename = "currentContext", default)]
    current_context: Option<String>,
}

/// A context's `meta.json`.
#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Endpoints", default)]
    endpoints: MetaEndpoints,
}

#[derive(Deserialize, Default)]
struct MetaEndpoints {
    docker: Option<MetaEndpoint>,
}

#[derive(Deserialize)]
struct MetaEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

/// The engine that the settings mean, in this environment.
pub(crate) fn resolve(settings: &DockerSettings, environment: &Environment) -> Result<Endpoint> {
    let mut found = if let Some(text) = &settings.endpoint {
        endpoint(text, "endpoint", environment)?
    } else if let Some(name) = &settings.context {
        from_context(name, environment)?
    } else if let Some(text) = environment.var("DOCKER_HOST") {
        endpoint(text, "DOCKER_HOST", environment)?
    } else if let Some(name) = current_context(environment) {
        from_context(&name, environment)?
    } else {
        let address = Address::Unix(environment.path(DEFAULT_SOCKET));
        Endpoint { address, tls: None, source: "the default socket".to_owned() }
    };
    if let Some(tls) = &settings.tls {
        if found.is_local() {
            return Err(Error::config("tls", "a Unix socket knows no TLS").with_context("endpoint", &found));
        }
        found.tls = Some(tls.clone());
    }
    if let Address::Tcp { tls: true, .. } = &found.address
        && found.tls.is_none()
    {
        let error = Error::config("tls", "the endpoint asks for TLS, and no certificates are given");
        return Err(error
            .with_context("endpoint", &found)
            .with_help("set `tls.ca`, and `tls.cert` and `tls.key` if the engine asks for a certificate"));
    }
    Ok(found)
}

fn endpoint(text: &str, source: &str, environment: &Environment) -> Result<Endpoint> {
    let address = Address::parse(text).map_err(|why| Error::config(source.to_owned(), why))?;
    // As Docker's own client: the variable's engine is spoken to by TLS if DOCKER_TLS_VERIFY is set.
    let from_environment = source == "DOCKER_HOST" && matches!(address, Address::Tcp { .. });
    let tls = (from_environment && environment.var("DOCKER_TLS_VERIFY").is_some())
        .then(|| {
            let folder = environment.var("DOCKER_CERT_PATH").map(PathBuf::from);
            folder.or_else(|| config_dir(environment)).map(TlsSettings::in_folder)
        })
        .flatten();
    Ok(Endpoint { address, tls, source: source.to_owned() })
}

/// The folder of Docker's own client.
pub(crate) fn config_dir(environment: &Environment) -> Option<PathBuf> {
    match environment.var("DOCKER_CONFIG") {
        Some(folder) => Some(environment.path(folder)),
        None => environment.home().map(|home| environment.path(home.join(".docker"))),
    }
}

/// The context that Docker's client would use, unless it is the built-in `default`.
fn current_context(environment: &Environment) -> Option<String> {
    let named = environment.var("DOCKER_CONTEXT").map(str::to_owned).or_else(|| {
        let text = std::fs::read(config_dir(environment)?.join("config.json")).ok()?;
        serde_json::from_slice::<ClientConfig>(&text).ok()?.current_context
    });
    named.filter(|name| !name.is_empty() && name != "default")
}

fn from_context(name: &str, environment: &Environment) -> Result<Endpoint> {
    let source = format!("the Docker context `{name}`");
    if name == "default" {
        let address = Address::Unix(environment.path(DEFAULT_SOCKET));
        return Ok(Endpoint { address, tls: None, source });
    }
    let folder = config_dir(environment).ok_or_else(|| {
        Error::config("context", format!("{source} cannot be found: the home folder is unknown"))
            .with_help("set HOME or DOCKER_CONFIG")
    })?;
    let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    let path = folder.join("contexts/meta").join(&digest).join("meta.json");
    let wrong = |why: String| Error::config("context", why).with_context("path", path.display());
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            wrong(format!("there is no Docker context `{name}`")).with_help(known_contexts(&folder))
        }
        _ => wrong(format!("{source} cannot be read")).with_source(error),
    })?;
    let meta: Meta =
        serde_json::from_slice(&text).map_err(|error| wrong(format!("{source} is damaged: {error}")))?;
    let docker = meta.endpoints.docker.filter(|docker| !docker.host.is_empty());
    let docker = docker.ok_or_else(|| wrong(format!("{source} names no Docker engine")))?;
    if docker.skip_tls_verify {
        return Err(wrong(format!("{source} skips the check of the engine's certificate")).with_help(
            "give the context a CA: whoever poses as the engine gets all secrets of its workers",
        ));
    }
    let address = Address::parse(&docker.host).map_err(wrong)?;
    let address = match address {
        Address::Unix(path) => Address::Unix(environment.path(path)),
        tcp => tcp,
    };
    let tls = folder.join("contexts/tls").join(&digest).join("docker");
    let has = |name: &str| tls.join(name).exists();
    if !has("ca.pem") && (has("cert.pem") || has("key.pem")) {
        return Err(wrong(format!("{source} has a certificate of ours and none to know the engine by")).with_help(
            "give the context a CA: the system's have no say in which engine it is, and in the clear it is not spoken to",
        ));
    }
    let tls = tls.join("ca.pem").exists().then(|| TlsSettings::in_folder(&tls)).map(|mut tls| {
        let missing = |path: &Option<PathBuf>| !path.as_ref().is_some_and(|path| path.exists());
        if missing(&tls.cert) || missing(&tls.key) {
            (tls.cert, tls.key) = (None, None);
        }
        tls
    });
    Ok(Endpoint { address, tls, source })
}

fn known_contexts(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder.join("contexts/meta")) else {
        return "there are none; see `docker context create`".to_owned();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("meta.json")).ok())
        .filter_map(|text| serde_json::from_slice::<Meta>(&text).ok().map(|meta| meta.name))
        .collect();
    names.sort();
    match names.as_slice() {
        [] => "there are none; see `docker context create`".to_owned(),
        names => format!("there are `{}`", names.join("`, `")),
    }
}

/// Whether an engine seems to be meant here, and why. Looks, and connects to nothing.
pub(crate) fn detect(environment: &Environment) -> Option<(DockerSettings, String)> {
    let plain = DockerSettings::default();
    if environment.var("DOCKER_HOST").is_some() {
        return Some((plain, "DOCKER_HOST is set".to_owned()));
    }
    if let Some(name) = current_context(environment) {
        let reason = format!("the current Docker context is `{name}`");
        return Some((DockerSettings::in_context(name), reason));
    }
    environment.exists(DEFAULT_SOCKET).then(|| (plain, format!("the socket {DEFAULT_SOCKET} exists")))
}

#[cfg(test)]
mod tests;
