//! TLS as libpq's `sslmode` has it, over rustls.

use std::{
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hodei_worker_core::{Error, Result};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    config::SslMode,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect},
};

/// Whether TLS is used, and what is asked of the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsMode {
    mode: Mode,
    roots: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl TlsMode {
    /// Takes our part out of an address, and gives the rest of it.
    pub(super) fn take_from(url: &str) -> Result<(String, Self)> {
        let mut tls = Self { mode: Mode::Prefer, roots: None };
        let is_url = url.contains("://");
        let (start, mut words): (&str, Vec<&str>) = if is_url {
            // What stands before `@` may hold any character.
            let past = url.find('@').unwrap_or(0);
            match url[past..].split_once('?') {
                Some((_, query)) => (&url[..url.len() - query.len() - 1], query.split('&').collect()),
                None => (url, Vec::new()),
            }
        } else {
            ("", url.split(' ').collect())
        };
        let mut wrong = None;
        if !is_url && url.contains(['\'', '\\']) && url.contains("ssl") {
            // A quoted value may hold what looks like one of ours.
            wrong = Some("with quotes in it, TLS cannot be set: write it as postgres://…?sslmode=…");
        }
        words.retain(|word| {
            if let Some(value) = word.strip_prefix("sslmode=") {
                match Mode::parse(value) {
                    Some(mode) => tls.mode = mode,
                    None => wrong = Some("`sslmode` is disable, prefer, require, verify-ca or verify-full"),
                }
            } else if let Some(value) = word.strip_prefix("sslrootcert=") {
                match decode(value, is_url) {
                    Some(path) => tls.roots = Some(path.into()),
                    None => wrong = Some("`sslrootcert` is the path of a file in PEM form"),
                }
            } else {
                return true;
            }
            false
        });
        if let Some(message) = wrong {
            return Err(Error::config("url", message));
        }
        if tls.roots.is_none() && matches!(tls.mode, Mode::VerifyCa | Mode::VerifyFull) {
            return Err(Error::config("url", "to verify the server's certificate takes `sslrootcert`, too")
                .with_help(
                    "name a file in PEM form with the certificates of those who may vouch for the server",
                ));
        }
        let rest = match (is_url, words.is_empty()) {
            (true, true) => start.to_owned(),
            (true, false) => format!("{start}?{}", words.join("&")),
            (false, _) => words.join(" "),
        };
        Ok((rest, tls))
    }

    pub(super) fn negotiation(&self) -> SslMode {
        match self.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        }
    }

    /// Reads the certificates, if there are any to be read.
    pub(super) fn connector(&self) -> Result<Tls> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let internal = |error: rustls::Error| {
            Error::config("url", "TLS cannot be set up with these certificates").with_source(error)
        };
        let trusted = match (&self.roots, self.mode) {
            (Some(file), Mode::Require | Mode::VerifyCa | Mode::VerifyFull) => {
                let unreadable = |error: rustls::pki_types::pem::Error| {
                    Error::config("url", "the certificates cannot be read")
                        .with_context("sslrootcert", file.display())
                        .with_source(error)
                };
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
                    roots.add(certificate.map_err(unreadable)?).map_err(internal)?;
                }
                let builder =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                Some(builder.build().map_err(|error| {
                    Error::config("url", "the certificates cannot be used")
                        .with_context("sslrootcert", file.display())
                        .with_source(error)
                })?)
            }
            _ => None,
        };
        let verifier =
            Verifier { provider: Arc::clone(&provider), trusted, names: self.mode == Mode::VerifyFull };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(internal)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Tls { connector: tokio_rustls::TlsConnector::from(Arc::new(config)), name: None })
    }
}

impl Mode {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            "prefer" | "allow" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }
}

/// The value of an option: in an address with `%` and two digits for bytes that have a meaning there.
fn decode(value: &str, encoded: bool) -> Option<String> {
    if !encoded {
        return (!value.is_empty() && !value.starts_with('\'')).then(|| value.to_owned());
    }
    let mut parts = value.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok().filter(|path| !path.is_empty())
}

/// Asks of a certificate what the mode says.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None` trusts every server, as libpq's `prefer` and `require` do: that keeps listeners out, and nobody else.
    trusted: Option<Arc<WebPkiServerVerifier>>,
    names: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        match trusted.verify_server_cert(end, between, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Makes TLS of connections.
#[derive(Clone)]
pub(super) struct Tls {
    connector: tokio_rustls::TlsConnector,
    name: Option<ServerName<'static>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Stream<S>;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Self> {
        let name = ServerName::try_from(domain.to_owned()).map_err(io::Error::other)?;
        Ok(Self { connector: self.connector.clone(), name: Some(name) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Tls {
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let name = self.name.ok_or_else(|| io::Error::other("the server has no name"))?;
            Ok(Stream(Box::new(self.connector.connect(name, stream).await?)))
        })
    }
}

/// A connection under TLS.
pub(super) struct Stream<S>(Box<tokio_rustls::client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(url: &str) -> (String, TlsMode) {
        TlsMode::take_from(url).unwrap()
    }

    #[test]
    fn l6_tls_options_are_taken_from_an_address_and_the_rest_stays() {
        let tls = |mode, roots: Option<&str>| TlsMode { mode, roots: roots.map(PathBuf::from) };
        let cases = [
            ("postgres://a/b", "postgres://a/b", tls(Mode::Prefer, None)),
            ("postgres://a/b?sslmode=require", "postgres://a/b", tls(Mode::Require, None)),
            (
                "postgres://u:p?x@a/b?options=-c%20x&sslmode=verify-full&sslrootcert=/c%2Fd&user=e",
                "postgres://u:p?x@a/b?options=-c%20x&user=e",
                tls(Mode::VerifyFull, Some("/c/d")),
            ),
            ("host=a sslmode=disable user=b", "host=a user=b", tls(Mode::Disable, None)),
        ];
        for (url, rest, tls) in cases {
            assert_eq!(take(url), (rest.to_owned(), tls), "{url}");
        }
        for wrong in
            ["postgres://a/b?sslmode=on", "postgres://a/b?sslmode=verify-ca", "host=a sslrootcert='x'"]
        {
            assert!(TlsMode::take_from(wrong).is_err(), "{wrong}");
        }
    }
}
