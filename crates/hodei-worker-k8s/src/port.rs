//! Connections to ports of workers, by way of the API server and the node's kubelet.
//!
//! The node answers as soon as it has heard the wish, connects to the pod's loopback then, and says nothing when that has
//! come about. When nobody listens it says so in words of its own, on a channel beside the bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hodei_worker_core::{Error, ErrorKind, Result, WorkerRef, provider::WorkerConnection};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::provider::Shared;

impl Shared {
    pub(crate) async fn connect_port(
        &self,
        worker: &WorkerRef,
        port: u16,
    ) -> Result<Box<dyn WorkerConnection>> {
        let pod = self.find_running(worker).await?;
        let (pods, name) = (self.cluster.pods(), pod.metadata.name.as_deref().unwrap_or_default());
        let opened = self.cluster.call(pods.portforward(name, &[port])).await;
        let mut forwarder = opened.map_err(|failed| self.gone_or(worker, failed))?;
        let (Some(stream), Some(told)) = (forwarder.take_stream(port), forwarder.take_error(port)) else {
            return Err(Error::new(ErrorKind::Unexpected, "the client has lost the port that it opened"));
        };
        let server = self.cluster.server.clone();
        let over = async move {
            forwarder.join().await.map_err(|error| {
                Error::new(ErrorKind::Unavailable, "the connection broke on its way to the worker")
                    .with_context("server", server)
                    .with_source(error)
            })
        };
        let (told, over) = (Some(Box::pin(told) as _), Some(Box::pin(over) as _));
        Ok(Box::new(Forwarded { stream, told, over, end: None, has_read: false }))
    }
}

type Pinned<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How a connection ended.
#[derive(Debug, Clone)]
enum End {
    /// The worker closed it.
    Closed,
    /// The node says this of it.
    Told(io::ErrorKind, String),
    /// On its way.
    Broke(Error),
}

impl End {
    fn as_result(&self) -> io::Result<()> {
        match self {
            Self::Closed => Ok(()),
            Self::Told(kind, message) => Err(io::Error::new(*kind, message.clone())),
            Self::Broke(error) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, error.clone())),
        }
    }
}

/// A connection whose other end is a task that speaks to the API server. It ends when this is dropped, after what was
/// written has been sent.
struct Forwarded {
    stream: DuplexStream,
    /// What the node says when the connection cannot be used, or not any more; `None` of a task that has ended.
    told: Option<Pinned<Option<String>>>,
    /// The end of the task.
    over: Option<Pinned<Result<()>>>,
    end: Option<End>,
    has_read: bool,
}

impl Forwarded {
    /// How it ended; pending while nothing is told of that.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<End> {
        if let Some(end) = &self.end {
            return Poll::Ready(end.clone());
        }
        if let Some(told) = &mut self.told {
            let message = ready!(told.as_mut().poll(context));
            self.told = None;
            if let Some(message) = message {
                let kind = match self.has_read {
                    true => io::ErrorKind::ConnectionReset,
                    false => io::ErrorKind::ConnectionRefused,
                };
                return Poll::Ready(self.end.insert(End::Told(kind, message.trim().to_owned())).clone());
            }
        }
        let ended = match &mut self.over {
            Some(over) => ready!(over.as_mut().poll(context)),
            None => Ok(()),
        };
        self.over = None;
        let end = ended.map_or_else(End::Broke, |()| End::Closed);
        Poll::Ready(self.end.insert(end).clone())
    }
}

impl AsyncRead for Forwarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer)?;
        if buffer.filled().len() > before {
            self.has_read = true;
            return Poll::Ready(Ok(()));
        }
        match self.poll_end(context) {
            Poll::Ready(end) => Poll::Ready(end.as_result()),
            // It was closed in order, and the task waits for us.
            Poll::Pending if read.is_ready() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Forwarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        match (written, self.end.as_ref().map(End::as_result)) {
            (Err(_), Some(Err(known))) => Poll::Ready(Err(known)),
            (written, _) => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// The protocol cannot close one direction alone: the worker sees the end when this is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
