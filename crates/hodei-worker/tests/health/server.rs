//! What the workers of these tests are: this program as a server, `serve KIND PORT FILE`.
//!
//! `tcp` accepts, `http` and `https` answer: `/well` with 200 while the file is there, `/asked` with 200 where the host
//! and a header are as the check should send them, `/moved` with 302, and `/silent` not at all.

use std::path::PathBuf;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

/// Serves, if that is what this program was called for.
pub(crate) fn serve() -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [verb, kind, port, file] = words.as_slice() else { return false };
    if verb != "serve" {
        return false;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(listen(kind, port.parse().unwrap(), file.into()));
    true
}

async fn listen(kind: &str, port: u16, file: PathBuf) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let file = file.clone();
        match kind {
            "http" => drop(tokio::spawn(answer(stream, file))),
            #[cfg(feature = "https-probes")]
            "https" => {
                let acceptor = acceptor();
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(stream, file).await;
                    }
                });
            }
            _ => {}
        }
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, file: PathBuf) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut line) = (Vec::new(), String::new());
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {
        head.push(std::mem::take(&mut line).trim().to_ascii_lowercase());
    }
    let has = |header: &str| head.iter().any(|line| line == header);
    let status = match head.first().and_then(|line| line.split(' ').nth(1)) {
        Some("/well") if file.exists() => "200 OK",
        Some("/well") => "503 Service Unavailable",
        Some("/asked?x=1") if has("host: worker.example") && has("x-check: yes") => "200 OK",
        Some("/moved") => "302 Found",
        Some("/silent") => std::future::pending().await,
        _ => "400 Bad Request",
    };
    // The body never ends: only the head counts.
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 1000000\r\n\r\nbody");
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.read_line(&mut line).await;
}

/// The certificate of nobody: for `localhost` and 127.0.0.1, signed by itself.
#[cfg(feature = "https-probes")]
fn acceptor() -> tokio_rustls::TlsAcceptor {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/health");
    let certificate = CertificateDer::from_pem_file(format!("{folder}/localhost.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{folder}/localhost.key")).unwrap();
    let crypto = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    std::sync::Arc::new(config).into()
}
