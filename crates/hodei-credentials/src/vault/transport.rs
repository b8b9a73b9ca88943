//! Connections to one node: TCP or TLS below one pooled HTTP client.

use std::{
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hodei_worker_core::{Error, ErrorKind, Result};
use http::Uri;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::{VaultTls, address::Address};

pub(super) type HttpClient = Client<Connector, Full<Bytes>>;

/// Idle connections that are kept; more only while more calls run at once.
const MOST_IDLE: usize = 16;
/// Idle connections are closed after this time.
const IDLE: Duration = Duration::from_secs(30);

/// A client that keeps its connections. A request that an idle connection had not begun to send when it turned out to
/// be closed goes over another one; nothing is sent twice.
pub(super) fn client(address: &Address, tls: Option<Arc<ClientConfig>>, timeout: Duration) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(MOST_IDLE)
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(Connector(Arc::new(Target { address: address.clone(), tls, timeout })))
}

struct Target {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

impl Target {
    async fn open(&self) -> io::Result<Link> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = self.tls.as_ref().filter(|_| self.address.tls) else {
            return Ok(Link(Box::pin(stream)));
        };
        let name = ServerName::try_from(self.address.host.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Link(Box::pin(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?)))
    }
}

/// Opens connections to one node, whatever the request's address says.
#[derive(Clone)]
pub(super) struct Connector(Arc<Target>);

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
pub(super) struct Link(Pin<Box<dyn Duplex>>);

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

/// Reads the certificates.
pub(super) fn tls_config(tls: &VaultTls) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(path) => {
            for certificate in certificates("ca", path)? {
                let unusable = |error| wrong("ca", path, format!("holds an unusable certificate: {error}"));
                roots.add(certificate).map_err(unusable)?;
            }
        }
        None => {
            // One bad certificate among the system's is none of our business.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(Error::config(
                    "tls.ca",
                    "this machine has no certificate authorities of its own: name one",
                ));
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Unexpected, "TLS cannot be set up").with_source(error))?
        .with_root_certificates(roots);
    let config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates("cert", cert)?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| wrong("key", key, format!("cannot be read: {error}")))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| wrong("cert", cert, format!("does not go with the key: {error}")))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn certificates(field: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    match CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(found) if found.is_empty() => Err(wrong(field, path, "holds no certificate".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(field, path, format!("cannot be read: {error}"))),
    }
}

fn wrong(field: &str, path: &Path, why: String) -> Error {
    Error::config(format!("tls.{field}"), why).with_context("path", path.display())
}
