//! The metrics of a few workers for Prometheus, served by a small server on this machine: workers by state, changes and
//! calls, and what each worker uses. `cargo run --release --example metrics --features metrics`, then
//! `curl http://127.0.0.1:9464/metrics`; another port is the first argument, 0 takes a free one.

use std::{convert::Infallible, sync::Arc};

use futures::future::BoxFuture;
use hodei_worker::{
    Clock as _, ConnectContext, Error, ErrorKind, Result, SystemClock, WorkerConfig, WorkerManager,
    WorkerState,
    lifecycle::Worker,
    manager::Shutdown,
    process::{self, ProcessSettings},
    store::MemoryStore,
    telemetry::{
        Telemetry,
        prometheus::{CONTENT_TYPE, Prometheus},
    },
};
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

fn main() -> Result<()> {
    process::init();
    run()
}

#[tokio::main]
async fn run() -> Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(9464);
    let telemetry = Telemetry::default();
    let prometheus = Prometheus::install(&telemetry)?;

    let context = ConnectContext::new("local".parse()?, format!("metrics-{}", std::process::id()).parse()?);
    let provider = hodei_worker::connect(ProcessSettings::default(), context).await?;
    let builder = WorkerManager::builder(Arc::new(MemoryStore::new())).telemetry(telemetry.clone());
    let manager = builder.provider(provider).open().await?;
    for (name, script) in [("calm", "sleep 1000"), ("busy", "while :; do :; done"), ("brief", "exit 0")] {
        let config =
            WorkerConfig::builder(name).command(["sh", "-c", script]).worker_type("example").build()?;
        manager.create_worker(&config).await?;
        let over =
            |worker: &Worker| matches!(worker.state, Some(WorkerState::Running | WorkerState::Stopped));
        manager.wait_for(&config.worker_id, over).await?;
    }
    manager.wait_for_end(&"brief".parse()?).await?;

    let scrape = Arc::new(Scrape { manager: manager.clone(), prometheus });
    let served = tokio::select! {
        served = serve(port, scrape) => served,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    println!("{}", manager.performance().report(SystemClock.now()));
    manager.shutdown(Shutdown::Remove { grace: Some(std::time::Duration::ZERO) }).await?;
    served
}

struct Scrape {
    manager: WorkerManager,
    prometheus: Prometheus,
}

impl Scrape {
    async fn text(&self) -> Result<String> {
        self.manager.measure().await?;
        Ok(self.prometheus.render())
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, text) = match request.uri().path() {
            "/metrics" => match self.text().await {
                Ok(text) => (200, text),
                Err(error) => (503, format!("{error}\n")),
            },
            _ => (404, "see /metrics\n".to_owned()),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
        let content = hyper::header::HeaderValue::from_static(CONTENT_TYPE);
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, content);
        response
    }
}

async fn serve(port: u16, scrape: Arc<Scrape>) -> Result<()> {
    let failed = |error| Error::new(ErrorKind::Unavailable, "the port cannot be served").with_source(error);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(failed)?;
    println!("http://{}/metrics", listener.local_addr().map_err(failed)?);
    loop {
        let (connection, _) = listener.accept().await.map_err(failed)?;
        let scrape = Arc::clone(&scrape);
        let answer = service_fn(move |request| -> BoxFuture<'static, Result<_, Infallible>> {
            let scrape = Arc::clone(&scrape);
            Box::pin(async move { Ok(scrape.answer(request).await) })
        });
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(connection), answer));
    }
}
