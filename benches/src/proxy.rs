//! A proxy before the engine's socket that counts requests.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hodei_worker_benches::Outcome;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

/// The proxy; gone when dropped.
pub(crate) struct CountingProxy {
    path: PathBuf,
    requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl CountingProxy {
    /// Stands before the engine at that `unix://` address.
    pub(crate) fn before(engine: &str) -> Outcome<Self> {
        let engine: PathBuf =
            engine.strip_prefix("unix://").ok_or("requests are counted on a Unix socket")?.into();
        let path = std::env::temp_dir().join(format!("hodei-bench-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&engine).await else { continue };
                tokio::spawn(forward(client, server, Arc::clone(&counter)));
            }
        });
        Ok(Self { path, requests, task })
    }
    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.path.display())
    }
    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for CountingProxy {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn forward(client: UnixStream, server: UnixStream, requests: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            // The client writes a request's head at once, and waits for the answer before the next.
            let head = &buffer[..read];
            if [&b"GET /"[..], b"POST /", b"DELETE /", b"HEAD /", b"PUT /"]
                .iter()
                .any(|verb| head.starts_with(verb))
            {
                requests.fetch_add(1, Ordering::SeqCst);
            }
            if to_server.write_all(head).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let down = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}
