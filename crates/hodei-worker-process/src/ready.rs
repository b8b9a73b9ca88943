//! Descriptors on the runtime's event loop.

use std::{io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

/// Waits for this descriptor on the runtime's event loop. Call it inside a Tokio runtime.
pub(crate) fn register(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // Its successor is an unsafe function, since the inner value could exchange its descriptor. An `OwnedFd` cannot.
    #[allow(deprecated)]
    AsyncFd::new(descriptor)
}

/// The most that a pipe holds, unless root has raised it.
const FULL: usize = 1 << 20;

/// What is in a pipe at this moment, whether the event loop has heard of it or not.
pub(crate) fn rest(pipe: io::Result<OwnedFd>) -> Vec<u8> {
    let mut rest = Vec::new();
    let Ok(pipe) = pipe else { return rest };
    if rustix::io::ioctl_fionbio(&pipe, true).is_err() {
        return rest;
    }
    let mut buffer = vec![0; 64 * 1024];
    // What escaped may write on for ever.
    while rest.len() < FULL {
        match rustix::io::read(&pipe, &mut buffer) {
            Ok(read @ 1..) => rest.extend_from_slice(&buffer[..read]),
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => break,
        }
    }
    rest
}
