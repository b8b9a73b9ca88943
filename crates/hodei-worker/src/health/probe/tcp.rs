//! A connection to a worker's port.

use std::io::{self, ErrorKind};

use hodei_worker_core::status::Address;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{Finding, success};

pub(super) async fn find_out(address: &Address, deadline: Instant) -> Finding {
    let began = Instant::now();
    match connect(address, deadline).await {
        Ok(_) => success(began),
        Err(finding) => finding,
    }
}

/// Connects, or says what that means for the worker.
pub(super) async fn connect(address: &Address, deadline: Instant) -> Result<TcpStream, Finding> {
    let (host, port) = (address.host.as_str(), address.host_port);
    match timeout_at(deadline, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if is_ours(&error) => {
            Err(Finding::unknown(format!("this host cannot connect to {host}:{port}: {error}")))
        }
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            Err(Finding::failure(format!("nobody listens at {host}:{port}")))
        }
        Ok(Err(error)) => {
            Err(Finding::failure(format!("it cannot be connected to at {host}:{port}: {error}")))
        }
        Err(_) => Err(Finding::failure(format!("it does not answer at {host}:{port}"))),
    }
}

/// Whether a connection could not even be tried: no file descriptor or port is left here, there is no network, or the
/// name of the provider's machine is not known. An error without a number came from the look-up of the name.
fn is_ours(error: &io::Error) -> bool {
    const SHORTAGES: [i32; 6] = [
        12,  // ENOMEM
        23,  // ENFILE
        24,  // EMFILE
        99,  // EADDRNOTAVAIL
        100, // ENETDOWN
        101, // ENETUNREACH
    ];
    error.raw_os_error().is_none_or(|number| SHORTAGES.contains(&number))
}
