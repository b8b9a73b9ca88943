//! Registries by their names, which are written in more than one way.

use std::fmt;

use hodei_worker_core::model::ContainerImage;

/// Docker Hub, as images name it.
const HUB: &str = "docker.io";
/// Docker Hub, as Docker's own client and its credential helpers know it.
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// A registry, by its host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registry(String);

impl Registry {
    /// The one that an image comes from.
    pub(crate) fn of(image: &ContainerImage) -> Self {
        Self(host_and_path(image.repository()).0.to_owned())
    }

    /// The one that a key of a Docker client's file means. Old files have schemes and paths in them.
    pub(crate) fn of_key(key: &str) -> Self {
        let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let host = rest.split('/').next().unwrap_or(rest);
        Self(if host == "index.docker.io" { HUB } else { host }.to_owned())
    }

    /// Its host and port; `docker.io` for Docker Hub.
    pub(crate) fn host(&self) -> &str {
        &self.0
    }

    /// What credential helpers and engines call it.
    pub(crate) fn server(&self) -> &str {
        if self.0 == HUB { HUB_SERVER } else { &self.0 }
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The registry and the rest of a repository's name. As engines tell them apart: a host has a dot or a port, or is
/// `localhost`.
fn host_and_path(repository: &str) -> (&str, &str) {
    match repository.split_once('/') {
        Some(("index.docker.io", path)) => (HUB, path),
        Some((host, path)) if host.contains(['.', ':', '[']) || host == "localhost" => (host, path),
        _ => (HUB, repository),
    }
}

/// A repository's name in full, since engines write the short one where there is one: `busybox` is
/// `docker.io/library/busybox`.
pub(crate) fn full_name(repository: &str) -> String {
    match host_and_path(repository) {
        (HUB, path) if !path.contains('/') => format!("{HUB}/library/{path}"),
        (host, path) => format!("{host}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d6_an_image_names_its_registry() {
        for (image, host) in [
            ("busybox:1", "docker.io"),
            ("team/app:1", "docker.io"),
            ("docker.io/team/app:1", "docker.io"),
            ("index.docker.io/team/app:1", "docker.io"),
            ("localhost/app:1", "localhost"),
            ("registry.example:5000/team/app:1", "registry.example:5000"),
            ("[::1]:5000/app:1", "[::1]:5000"),
        ] {
            let registry = Registry::of(&image.parse().unwrap());
            assert_eq!(registry.host(), host, "{image}");
        }
        assert_eq!(Registry::of(&"busybox:1".parse().unwrap()).server(), "https://index.docker.io/v1/");
    }

    #[test]
    fn d6_keys_of_old_files_have_schemes_and_paths() {
        for (key, host) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
            ("http://registry.example:5000/v1/", "registry.example:5000"),
            ("https://registry.example", "registry.example"),
            ("registry.example/v2", "registry.example"),
        ] {
            assert_eq!(Registry::of_key(key).host(), host, "{key}");
        }
    }

    #[test]
    fn d6_one_repository_has_one_full_name() {
        for (short, full) in [
            ("busybox", "docker.io/library/busybox"),
            ("docker.io/busybox", "docker.io/library/busybox"),
            ("team/app", "docker.io/team/app"),
            ("localhost/app", "localhost/app"),
        ] {
            assert_eq!(full_name(short), full);
        }
    }
}
