//! One GET over a connection of its own, of whose answer only the head is read.

use bytes::Bytes;
use hodei_worker_core::{
    model::{HttpProbe, Scheme},
    status::Address,
};
use http::{
    HeaderValue, Request, StatusCode,
    header::{CONNECTION, HOST, USER_AGENT},
};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};

use super::{
    Finding, Prober, Try, success,
    way::{Way, trouble},
};

impl Prober {
    pub(super) async fn get(&self, attempt: &Try, probe: &HttpProbe, deadline: Instant) -> Finding {
        let began = Instant::now();
        let Way { stream, address, .. } = match attempt.connect(probe.port, deadline).await {
            Ok(way) => way,
            Err(finding) => return finding,
        };
        let address = &address;
        let answer = match probe.scheme {
            #[cfg(feature = "https-probes")]
            Scheme::Https => {
                let encrypted = self.tls.connect(host(probe, address), stream);
                match timeout_at(deadline, encrypted).await {
                    Ok(Ok(stream)) => timeout_at(deadline, ask(stream, probe, address)).await,
                    Ok(Err(error)) => {
                        return trouble(&error)
                            .unwrap_or_else(|| Finding::failure(format!("no TLS with it: {error}")));
                    }
                    Err(_) => return Finding::failure("its TLS does not answer"),
                }
            }
            Scheme::Http => timeout_at(deadline, ask(stream, probe, address)).await,
            _ => return Finding::unknown("this build has no HTTPS"),
        };
        match answer {
            Ok(Ok(status)) if probe.accepts(status.as_u16()) => success(began),
            Ok(Ok(status)) => Finding::failure(format!("it answered {}", status.as_u16())),
            Ok(Err(finding)) => finding,
            Err(_) => Finding::failure("it does not answer the request"),
        }
    }
}

/// The host that is asked for.
#[cfg(feature = "https-probes")]
fn host<'a>(probe: &'a HttpProbe, address: &'a Address) -> &'a str {
    probe.host.as_deref().unwrap_or(&address.host)
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    probe: &HttpProbe,
    address: &Address,
) -> Result<StatusCode, Finding> {
    let request = request(probe, address)
        .map_err(|error| Finding::failure(format!("it cannot be asked for that: {error}")))?;
    let broken = |error: hyper::Error| {
        trouble(&error).unwrap_or_else(|| Finding::failure(format!("it does not speak HTTP: {error}")))
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let answer = sender.send_request(request).await;
        answer.map(|answer| answer.status())
    };
    tokio::pin!(connection, answer);
    // The connection is worked on here, and gone with the answer's head.
    tokio::select! {
        biased;
        answer = &mut answer => answer.map_err(broken),
        closed = &mut connection => match closed {
            Ok(()) => answer.await.map_err(broken),
            Err(error) => Err(broken(error)),
        },
    }
}

fn request(probe: &HttpProbe, address: &Address) -> http::Result<Request<Empty<Bytes>>> {
    let mut request = Request::get(probe.path.as_str());
    let default = match probe.scheme {
        Scheme::Https => 443,
        _ => 80,
    };
    let host = match &probe.host {
        Some(host) => host.clone(),
        None => match (bracketed(&address.host), address.host_port) {
            (host, port) if port == default => host,
            (host, port) => format!("{host}:{port}"),
        },
    };
    request = request.header(HOST, host).header(CONNECTION, HeaderValue::from_static("close"));
    if !probe.headers.keys().any(|name| name.eq_ignore_ascii_case(USER_AGENT.as_str())) {
        request = request.header(USER_AGENT, concat!("hodei-worker/", env!("CARGO_PKG_VERSION")));
    }
    for (name, value) in &probe.headers {
        request = request.header(name, value);
    }
    request.body(Empty::new())
}

/// An address of IPv6 as it stands in a URL.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}
