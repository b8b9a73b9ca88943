use std::sync::Arc;

use crate::{capability::ProviderCapabilities, error::Error};

/// How far an initialisation has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct InitProgress {
    /// What is being done.
    pub step: String,
    /// What is done of the whole, 0 to 100.
    pub percent: u8,
}

impl InitProgress {
    /// A step.
    pub fn new(step: impl Into<String>, percent: u8) -> Self {
        Self { step: step.into(), percent: percent.min(100) }
    }
}

/// Whether a provider can be used.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum ProviderState {
    /// Nothing has been done. Calls are refused at once.
    #[default]
    Uninitialized,
    /// It is being reached. Calls wait, up to their deadlines.
    Initializing(InitProgress),
    /// It can be used.
    Ready(Arc<ProviderCapabilities>),
    /// It can be used within these reduced capabilities; their `degraded` says why.
    Degraded(Arc<ProviderCapabilities>),
    /// It could not be reached or set up. Calls fail with this error, and try again after a pause if it may pass.
    Failed(Error),
}

impl ProviderState {
    /// The state in one word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Uninitialized => "uninitialized",
            Self::Initializing(_) => "initializing",
            Self::Ready(_) => "ready",
            Self::Degraded(_) => "degraded",
            Self::Failed(_) => "failed",
        }
    }
    /// What it can do, once that is known.
    pub fn capabilities(&self) -> Option<&Arc<ProviderCapabilities>> {
        match self {
            Self::Ready(capabilities) | Self::Degraded(capabilities) => Some(capabilities),
            _ => None,
        }
    }
    /// The state of a provider with these capabilities.
    pub fn of(capabilities: Arc<ProviderCapabilities>) -> Self {
        if capabilities.degraded.is_some() { Self::Degraded(capabilities) } else { Self::Ready(capabilities) }
    }
}
