//! Names and labels of a project's workers.

use std::fmt::Write as _;

use hodei_worker_core::{
    Error, Result,
    model::{Labels, WorkerId},
};
use sha2::{Digest as _, Sha256};

use crate::Project;

/// Label: the project. These are Docker's own, so that its tools see the project too.
pub(super) const PROJECT: &str = "com.docker.compose.project";
/// Label: the service.
pub(super) const SERVICE: &str = "com.docker.compose.service";
/// Label: which of the service's workers, from 1.
pub(super) const NUMBER: &str = "com.docker.compose.container-number";
/// Label: tells one configuration of a service from another.
pub(super) const HASH: &str = "com.docker.compose.config-hash";
const ONE_OFF: &str = "com.docker.compose.oneoff";
const DIRECTORY: &str = "com.docker.compose.project.working_dir";
const FILES: &str = "com.docker.compose.project.config_files";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";
const VERSION: &str = "com.docker.compose.version";
/// Label: the containers whose namespaces it shares.
pub(super) const SHARES: &str = "hodei.compose.shares";
/// Label of networks.
pub(super) const NETWORK: &str = "com.docker.compose.network";
/// Label of volumes.
pub(super) const VOLUME: &str = "com.docker.compose.volume";

/// The longest start of an id that shows whose worker it is; the rest is its digest and number.
const SHOWN: usize = 24;

/// The id of one of a service's workers. Names of services may be longer than an id and hold what it may not, so a
/// digest of project and service stands in it.
pub(super) fn worker_id(project: &str, service: &str, number: usize) -> Result<WorkerId> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = format!("{project}-{service}").chars().map(plain).collect();
    let text: String = text.chars().take(SHOWN).collect();
    let digest = digest(&format!("{project}\0{service}"), 4);
    let id = format!("{}-{digest}-{number}", text.trim_matches('-'));
    WorkerId::new(id.trim_matches('-')).map_err(|error| Error::config("services", error.to_string()))
}

/// So many bytes of a digest, as hexadecimal digits.
pub(super) fn digest(text: &str, bytes: usize) -> String {
    Sha256::digest(text.as_bytes()).iter().take(bytes).fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// The labels of a service's workers, save number and hash.
pub(super) fn labels(project: &Project, service: &crate::Service) -> Labels {
    let files: Vec<_> = project.files.iter().map(|file| file.display().to_string()).collect();
    let depends = service.depends_on.iter().map(|(name, dependency)| {
        let condition = match dependency.condition {
            crate::model::DependencyCondition::ServiceHealthy => "service_healthy",
            crate::model::DependencyCondition::ServiceCompletedSuccessfully => {
                "service_completed_successfully"
            }
            _ => "service_started",
        };
        format!("{name}:{condition}:{}", dependency.restart)
    });
    let own = [
        (PROJECT, project.name.clone()),
        (SERVICE, service.name.clone()),
        (ONE_OFF, "False".to_owned()),
        (DIRECTORY, project.directory.display().to_string()),
        (FILES, files.join(",")),
        (DEPENDS_ON, depends.collect::<Vec<_>>().join(",")),
        (VERSION, env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let mut all: Labels = service.labels.clone();
    all.extend(own.map(|(name, value)| (name.to_owned(), value)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d10_ids_of_services_are_unique_and_usable() {
        let id =
            |project: &str, service: &str, number| worker_id(project, service, number).unwrap().to_string();
        assert_ne!(id("a-b", "c", 1), id("a", "b-c", 1));
        assert_ne!(id("a", "b_c", 1), id("a", "b-c", 1));
        assert_ne!(id("a", "b", 1), id("a", "b", 11));
        assert!(id("shop", "web", 1).starts_with("shop-web-"));
        assert!(id(&"p".repeat(60), &"S.".repeat(60), 9999).len() <= 40);
        assert!(id("_", "_", 1).ends_with("-1"));
    }
}
