//! Free loopback ports.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::failure::{Context, Failure, Result};

/// A port of 127.0.0.1 that nobody listens on now.
pub(crate) fn free() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// The first port that is ours to look at: services of the machine are below.
const FIRST: u16 = 12_000;

/// A free port that stays so while its server is down: the kernel gives it to no client. One that tries a dead server of
/// another port again and again comes by that port itself in the end, and is then connected to itself.
pub(crate) fn lasting() -> Result<u16> {
    // Parts come up in parallel, and none listens yet when the next one looks.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end: u16 = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    let count = end.checked_sub(FIRST).filter(|count| *count > 0);
    let count = count.ok_or_else(|| Failure::new("the kernel gives all ports to clients"))?;
    // Where a run begins differs, so that two of them seldom look at the same ports.
    let begin = u16::try_from(std::process::id() % u32::from(count)).unwrap_or_default();
    let offsets = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed)).take(usize::from(count));
    let mut ports =
        offsets.map(|offset| FIRST + ((u32::from(begin) + u32::from(offset)) % u32::from(count)) as u16);
    ports
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| Failure::new("no free port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_port_is_given_once_and_is_none_of_the_clients() {
        let (one, other) = (lasting().unwrap(), lasting().unwrap());
        assert_ne!(one, other);
        let client = free().unwrap();
        assert!(one < client && other < client && one >= FIRST);
    }
}
