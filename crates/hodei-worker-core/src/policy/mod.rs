//! Policies around every call.
use crate::{factory::ProviderHandle, provider::WorkerProvider};
use std::sync::Arc;
/// placeholder
pub fn gate(_handle: ProviderHandle) -> Arc<dyn WorkerProvider> {
    unreachable!()
}
