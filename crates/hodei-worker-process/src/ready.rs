//! Descriptors on the runtime's event loop.

use std::{io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

/// Waits for this descriptor on the runtime's event loop. Call it inside a Tokio runtime.
pub(crate) fn register(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // Its successor is an unsafe function, since the inner value could exchange its descriptor. An `OwnedFd` cannot.
    #[allow(deprecated)]
    AsyncFd::new(descriptor)
}
