//! The way to a worker's port: to an address that its provider tells, or through the provider where it tells none.

use std::{error::Error as StdError, future::poll_fn, io, pin::Pin, time::Duration};

use hodei_worker_core::{Capability, Error, model::Protocol, provider::WorkerConnection, status::Address};
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    time::{Instant, timeout_at},
};

use super::{Finding, Try, tcp};

/// In this time at least it is told that nobody listens, where a provider tells it after it has connected.
const REFUSES_WITHIN: Duration = Duration::from_millis(250);

/// A connection to a worker's port.
pub(super) struct Way {
    pub(super) stream: Box<dyn WorkerConnection>,
    /// Where it leads to. Through a provider: to the worker's own loopback.
    #[cfg_attr(not(feature = "http-probes"), allow(dead_code))] // HTTP names it.
    pub(super) address: Address,
    /// How long it took to open it.
    pub(super) took: Duration,
    through_provider: bool,
}

impl Try {
    /// Connects to the worker's port, or says what it means that this cannot be done.
    pub(super) async fn connect(&self, port: u16, deadline: Instant) -> Result<Way, Finding> {
        let began = Instant::now();
        if let Some(address) = self.status.reach(port) {
            return direct(address, began, deadline).await;
        }
        let late = || Finding::unknown("its provider did not answer in time");
        let unknown = |error: Error| Finding::unknown(error.to_string());
        let asking = timeout_at(deadline, self.provider.get_capabilities());
        let capabilities = asking.await.map_err(|_| late())?.map_err(unknown)?;
        // Where workers have addresses that are reached, it is not told yet.
        if capabilities.supports(Capability::PortForward) && !capabilities.supports(Capability::OwnAddresses)
        {
            return self.through_provider(port, began, deadline).await;
        }
        let asking = timeout_at(deadline, self.provider.get_worker_status(&self.worker));
        match asking.await.map_err(|_| late())?.map_err(unknown)?.reach(port) {
            Some(address) => direct(address, began, deadline).await,
            None => Err(Finding::failure(format!("its provider tells no address of its port {port}"))),
        }
    }

    async fn through_provider(&self, port: u16, began: Instant, deadline: Instant) -> Result<Way, Finding> {
        match timeout_at(deadline, self.provider.connect_worker_port(&self.worker, port)).await {
            Ok(Ok(stream)) => Ok(Way {
                stream,
                address: Address::new(port, Protocol::Tcp, "localhost", port),
                took: began.elapsed(),
                through_provider: true,
            }),
            // It does not run, which is told elsewhere, or its provider does not work.
            Ok(Err(error)) => Err(Finding::unknown(error.to_string())),
            Err(_) => Err(Finding::unknown("its provider did not connect to its port in time")),
        }
    }
}

async fn direct(address: Address, began: Instant, deadline: Instant) -> Result<Way, Finding> {
    let stream = Box::new(tcp::connect(&address, deadline).await?);
    Ok(Way { stream, address, took: began.elapsed(), through_provider: false })
}

impl Way {
    /// Finds out whether somebody listens at its end. Through a provider only a refusal is told: who has not refused after
    /// a while listens. The while is no shorter than opening the way took, of which a refusal needs a part.
    pub(super) async fn somebody_listens(&mut self, deadline: Instant) -> Result<(), Finding> {
        if !self.through_provider {
            return Ok(());
        }
        let settled = Instant::now() + self.took.max(REFUSES_WITHIN);
        let stream = &mut self.stream;
        let mut byte = [0];
        let reading =
            poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut ReadBuf::new(&mut byte)));
        match timeout_at(settled.min(deadline), reading).await {
            // It writes, or it has taken the connection and closed it.
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(trouble(&error)
                .unwrap_or_else(|| Finding::failure(format!("the connection to its port broke: {error}")))),
            Err(_) if settled <= deadline => Ok(()),
            Err(_) => Err(Finding::unknown("its provider did not tell in time whether anybody listens")),
        }
    }
}

/// What an error of a [`WorkerConnection`] means that is none of the worker's doing, if it is that.
pub(super) fn trouble(error: &(dyn StdError + 'static)) -> Option<Finding> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return Some(Finding::failure(format!("nobody listens at its port: {io}")));
            }
            let broke = io.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
            if let Some(broke) = broke {
                return Some(Finding::unknown(broke.to_string()));
            }
        }
        next = error.source();
    }
    None
}
