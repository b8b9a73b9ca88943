use std::collections::BTreeMap;

use serde::Deserialize;

use super::{FileMount, Ulimit, read};

/// How an image is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Build {
    /// The folder, or the address, that it is built from.
    pub context: Option<String>,
    /// The file that says how, relative to the context.
    pub dockerfile: Option<String>,
    /// What that file would hold.
    pub dockerfile_inline: Option<String>,
    /// Rights that the build is given.
    pub entitlements: Vec<String>,
    /// Arguments of the build.
    pub args: BTreeMap<String, Option<String>>,
    /// The attestation of provenance.
    pub provenance: Option<String>,
    /// The attestation of contents.
    pub sbom: Option<String>,
    /// Keys of SSH, as `id` or `id=path`.
    pub ssh: Vec<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Caches to read.
    pub cache_from: Vec<String>,
    /// Caches to write.
    pub cache_to: Vec<String>,
    /// Whether no cache is used.
    pub no_cache: bool,
    /// Stages for which no cache is used.
    pub no_cache_filter: Vec<String>,
    /// Contexts by name.
    pub additional_contexts: BTreeMap<String, String>,
    /// Whether base images are always pulled.
    pub pull: bool,
    /// Names of hosts with addresses, as `host=address`.
    pub extra_hosts: Vec<String>,
    /// The isolation of the build.
    pub isolation: Option<String>,
    /// The network of the build.
    pub network: Option<String>,
    /// The stage that is built.
    pub target: Option<String>,
    /// Secrets that the build is given.
    pub secrets: Vec<FileMount>,
    /// The size of `/dev/shm`, in bytes.
    #[serde(deserialize_with = "read::bytes")]
    pub shm_size: i64,
    /// Further names of the image.
    pub tags: Vec<String>,
    /// Limits of processes.
    #[serde(deserialize_with = "read::nulls")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Platforms that it is built for.
    pub platforms: Vec<String>,
    /// Whether the build may do everything on its machine.
    pub privileged: bool,
}

/// What is done when sources change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Develop {
    /// What is watched.
    pub watch: Vec<WatchTrigger>,
}

/// What is done when a path changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchTrigger {
    /// The path.
    pub path: String,
    /// What is done.
    pub action: WatchAction,
    /// Where changes are copied to.
    pub target: Option<String>,
    /// What is run.
    pub exec: Hook,
    /// Patterns of what counts.
    pub include: Vec<String>,
    /// Patterns of what does not.
    pub ignore: Vec<String>,
    /// Whether everything is copied first.
    pub initial_sync: bool,
}

/// What is done when a path changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum WatchAction {
    /// The image is built anew.
    #[default]
    #[serde(rename = "rebuild")]
    Rebuild,
    /// Changes are copied.
    #[serde(rename = "sync")]
    Sync,
    /// The container is restarted.
    #[serde(rename = "restart")]
    Restart,
    /// Changes are copied, and the container is restarted.
    #[serde(rename = "sync+restart")]
    SyncRestart,
    /// Changes are copied, and a command is run.
    #[serde(rename = "sync+exec")]
    SyncExec,
}

/// A command that runs at a turn of a container's life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hook {
    /// The command.
    pub command: Option<Vec<String>>,
    /// The image, where it runs before the container is there.
    pub image: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// Whether it may do everything on its machine.
    pub privileged: bool,
    /// The working directory.
    pub working_dir: Option<String>,
    /// Variables.
    pub environment: BTreeMap<String, Option<String>>,
    /// Whether it runs for each container, and not once.
    pub per_replica: bool,
}
