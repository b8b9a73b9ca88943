//! What a worker is: identity, configuration, templates of defaults, ownership.

mod builder;
mod config;
mod health;
mod id;
mod image;
mod metadata;
mod mount;
mod options;
mod ownership;
mod port;
mod probe;
mod reference;
mod resources;
mod restart;
mod scaling;
mod secret;
mod template;
mod validate;

pub use builder::WorkerConfigBuilder;
pub use config::{WorkerConfig, WorkerSpec};
pub use health::{FlappingConfig, HealthCheckConfig};
pub use id::{GroupRef, IdError, InstallationId, LogId, ProviderName, WorkerId};
pub use image::ContainerImage;
pub use metadata::{LabelSelector, Labels, WorkerMetadata};
pub use mount::{Mount, MountSource};
pub use options::WorkerOptions;
pub use ownership::{IntentMark, Ownership, labels};
pub use port::{Port, Protocol};
pub use probe::{HttpProbe, Probe, ProbeKind, Scheme, StatusRange};
pub use reference::{Generation, RunId, WorkerHandle, WorkerRef};
pub use resources::ResourceRequirements;
pub use restart::RestartPolicy;
pub use scaling::ScalingConfiguration;
pub use secret::{SecretReference, SecretTarget};
pub use template::{WorkerRequirements, WorkerTemplate};
pub use validate::ValidationRules;
