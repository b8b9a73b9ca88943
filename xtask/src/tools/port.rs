//! Free loopback ports.

use std::net::{Ipv4Addr, TcpListener};

use crate::failure::{Context, Result};

/// A port of 127.0.0.1 that nobody listens on now.
pub(crate) fn free() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}
