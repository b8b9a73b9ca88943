//! Connections to the engine: a Unix socket, TCP or TLS below one pooled HTTP client.
//!
//! bollard's own clients open a connection for each request and trust the system's certificate authorities.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use http::Uri;
use http_body_util::{Either, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::endpoint::Address;

/// A request's body, as bollard makes it.
pub(crate) type Body =
    Either<Full<Bytes>, StreamBody<Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send>>>>;

pub(crate) type HttpClient = Client<Connector, Body>;

/// Idle connections that are kept; more only while more calls run at once.
const MOST_IDLE: usize = 16;
/// Idle connections are closed after this time.
const IDLE: Duration = Duration::from_secs(30);

/// A client that keeps its connections. A request that an idle connection had not begun to send when it turned out to
/// be closed goes over another one; nothing is sent twice.
pub(crate) fn client(address: Address, tls: Option<Arc<ClientConfig>>, timeout: Duration) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(MOST_IDLE)
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(Connector(Arc::new(Target { address, tls, timeout })))
}

struct Target {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

impl Target {
    async fn open(&self) -> io::Result<Link> {
        match &self.address {
            Address::Unix(path) => Ok(Link(Box::pin(UnixStream::connect(path).await?))),
            Address::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                // The kernel notices a dead peer under an idle stream, at no cost to the engine.
                let keepalive = TcpKeepalive::new()
                    .with_time(Duration::from_secs(30))
                    .with_interval(Duration::from_secs(10))
                    .with_retries(3);
                SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
                let Some(tls) = &self.tls else { return Ok(Link(Box::pin(stream))) };
                let name = ServerName::try_from(host.clone())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
                Ok(Link(Box::pin(stream)))
            }
        }
    }
}

/// Opens connections to one engine, whatever the request's address says.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Target>);

impl Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Link>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let target = Arc::clone(&self.0);
        Box::pin(async move {
            match tokio::time::timeout(target.timeout, target.open()).await {
                Ok(opened) => opened.map(TokioIo::new),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// One open connection.
pub(crate) struct Link(Pin<Box<dyn Duplex>>);

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}
