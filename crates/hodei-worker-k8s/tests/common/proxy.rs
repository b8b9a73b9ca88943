//! An API server's address that the test has in its hand: what goes through it is the real one's.

use std::{
    convert::Infallible,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::StreamExt as _;
use hodei_worker_k8s::KubernetesSettings;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::limit;

type Body = UnsyncBoxBody<Bytes, kube::Error>;

/// What becomes of watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watches {
    /// They go through.
    Pass,
    /// Those that there are end, and further ones wait.
    Broken,
    /// The next one begins long ago.
    Outdated,
}

struct Shared {
    server: Client,
    watches: watch::Sender<Watches>,
    /// Watches that wait.
    waiting: watch::Sender<usize>,
    lists: Mutex<usize>,
    /// What the API server said to the watch that began long ago.
    answer: watch::Sender<(StatusCode, Vec<u8>)>,
}

/// Between a provider and the API server.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    file: PathBuf,
    server: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(server: Client, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let file =
            std::env::temp_dir().join(format!("hodei-proxy-{name}-{:08x}.kubeconfig", std::process::id()));
        // JSON is YAML.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("http://{}", listener.local_addr().unwrap())}}],
            "users": [{"name": "it", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        fs::write(&file, config.to_string()).unwrap();
        let shared = Arc::new(Shared {
            server,
            watches: watch::Sender::new(Watches::Pass),
            waiting: watch::Sender::new(0),
            lists: Mutex::default(),
            answer: watch::Sender::new((StatusCode::OK, Vec::new())),
        });
        Self { server: tokio::spawn(serve(listener, Arc::clone(&shared))), shared, file }
    }

    pub(crate) fn settings(&self) -> KubernetesSettings {
        KubernetesSettings::from_kubeconfig(&self.file).in_namespace("default")
    }

    /// Lists of pods that went through.
    pub(crate) fn lists(&self) -> usize {
        *self.shared.lists.lock().unwrap()
    }

    /// Ends the watches in order, and returns when another one waits.
    pub(crate) async fn break_watches(&self) {
        let mut waiting = self.shared.waiting.subscribe();
        self.shared.watches.send_replace(Watches::Broken);
        limit(waiting.wait_for(|waiting| *waiting > 0)).await.unwrap();
    }

    /// Lets the watch that waits go on from the cluster's first version: what the API server says to that, of its answer's
    /// first line.
    pub(crate) async fn go_on_outdated(&self) -> (StatusCode, String) {
        let mut answer = self.shared.answer.subscribe();
        self.shared.watches.send_replace(Watches::Outdated);
        let answer =
            limit(answer.wait_for(|(_, body)| body.contains(&b'\n') || body.ends_with(b"}"))).await.unwrap();
        let text = String::from_utf8(answer.1.clone()).unwrap();
        (answer.0, text.lines().next().unwrap_or_default().to_owned())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
        let _ = fs::remove_file(&self.file);
    }
}

/// Ends its connections when it is ended.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        let answering = service_fn(move |request| forward(Arc::clone(&shared), request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answering);
        connections.spawn(async move { drop(connection.await) });
    }
}

async fn forward(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let of_pods = request.method() == Method::GET && request.uri().path().ends_with("/pods");
    let is_watch = of_pods && query.split('&').any(|one| one == "watch=true");
    if of_pods && !is_watch {
        *shared.lists.lock().unwrap() += 1;
    }
    let (mut parts, body) = request.into_parts();
    let mut is_outdated = false;
    if is_watch {
        let mut watches = shared.watches.subscribe();
        shared.waiting.send_modify(|waiting| *waiting += usize::from(*watches.borrow() == Watches::Broken));
        let now = *watches.wait_for(|watches| *watches != Watches::Broken).await.unwrap();
        is_outdated = now == Watches::Outdated;
        if is_outdated {
            shared.watches.send_replace(Watches::Pass);
            parts.uri = from_the_first_version(&parts.uri, &query);
        }
    }
    parts.headers.remove(header::HOST);
    let body = body.collect().await.unwrap().to_bytes();
    let request = Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    let answer = match shared.server.send(request).await {
        Ok(answer) => answer,
        Err(error) => {
            let whole = Full::new(Bytes::from(error.to_string())).map_err(|never| match never {});
            let mut answer = Response::new(whole.boxed_unsync());
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            return Ok(answer);
        }
    };
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(header::TRANSFER_ENCODING);
    parts.headers.remove(header::CONNECTION);
    if !is_watch {
        return Ok(Response::from_parts(parts, body.boxed_unsync()));
    }
    let mut watches = shared.watches.subscribe();
    let broken = async move { drop(watches.wait_for(|watches| *watches == Watches::Broken).await) };
    let status = parts.status;
    let frames = BodyStream::new(body).take_until(Box::pin(broken)).inspect(move |frame| {
        let data = frame.as_ref().ok().and_then(|frame| frame.data_ref());
        if let Some(data) = data.filter(|_| is_outdated) {
            shared.answer.send_modify(|answer| {
                answer.0 = status;
                answer.1.extend_from_slice(data);
            });
        }
    });
    Ok(Response::from_parts(parts, StreamBody::new(frames).boxed_unsync()))
}

fn from_the_first_version(uri: &Uri, query: &str) -> Uri {
    let each = query.split('&').map(|one| match one.starts_with("resourceVersion=") {
        true => "resourceVersion=1",
        false => one,
    });
    format!("{}?{}", uri.path(), each.collect::<Vec<_>>().join("&")).parse().unwrap()
}
