//! Providers from settings: which types there are, which one fits the environment, and when they are ready.

mod config;
mod context;
mod detect;
mod environment;
mod fields;
mod handle;
mod registry;
mod settings;
mod state;
#[cfg(test)]
mod tests;

pub use config::ProviderConfig;
pub use context::{ConnectContext, InitReporter};
pub use detect::{Candidate, Detected, Detection};
pub use environment::Environment;
pub use handle::ProviderHandle;
pub use registry::ProviderFactory;
pub use settings::ProviderSettings;
pub use state::{InitProgress, ProviderState};
