//! A connection to a worker's port.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
};

use hodei_worker_core::status::Address;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{Finding, Try};

pub(super) async fn find_out(attempt: &Try, port: u16, deadline: Instant) -> Finding {
    let mut way = match attempt.connect(port, deadline).await {
        Ok(way) => way,
        Err(finding) => return finding,
    };
    match way.somebody_listens(deadline).await {
        Ok(()) => Finding::Success { took: way.took },
        Err(finding) => finding,
    }
}

/// Connects, or says what that means for the worker.
pub(super) async fn connect(address: &Address, deadline: Instant) -> Result<TcpStream, Finding> {
    let (host, port) = (address.host.as_str(), address.host_port);
    let addresses = match timeout_at(deadline, look_up(host, port)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(Finding::unknown(format!("this host does not find {host}: {error}"))),
        Err(_) => return Err(Finding::unknown(format!("this host does not find {host} in time"))),
    };
    match timeout_at(deadline, TcpStream::connect(&*addresses)).await {
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

/// What a name stands for. The system's look-up cannot be ended: as many as may be under way at once, whoever waits for
/// them, hold no more threads than that.
async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    static LOOK_UPS: Semaphore = Semaphore::const_new(8);
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let permit = LOOK_UPS.acquire().await.map_err(io::Error::other)?;
    let name = (host.to_owned(), port);
    let looking = tokio::spawn(async move {
        let found = tokio::net::lookup_host(name).await.map(Iterator::collect);
        drop(permit);
        found
    });
    looking.await.map_err(io::Error::other)?
}

/// Whether a connection could not even be tried: no file descriptor or port is left here, or there is no network.
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
