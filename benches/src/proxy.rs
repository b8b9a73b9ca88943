//! A proxy before the engine's socket that counts requests.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use hodei_worker_benches::Outcome;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener, UnixStream},
};

/// The proxy; gone when dropped.
pub(crate) struct CountingProxy {
    address: String,
    socket: Option<PathBuf>,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl CountingProxy {
    /// Stands on a Unix socket before the engine at that `unix://` address.
    pub(crate) fn unix(engine: &str) -> Outcome<Self> {
        let engine = path_of(engine)?;
        let socket = std::env::temp_dir().join(format!("hodei-bench-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        let requests = Arc::default();
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, engine.clone(), Arc::clone(&seen)));
            }
        });
        Ok(Self { address: format!("unix://{}", socket.display()), socket: Some(socket), requests, task })
    }

    /// Stands on a TCP port before it.
    pub(crate) async fn tcp(engine: &str) -> Outcome<Self> {
        let engine = path_of(engine)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("tcp://{}", listener.local_addr()?);
        let requests = Arc::default();
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, engine.clone(), Arc::clone(&seen)));
            }
        });
        Ok(Self { address, socket: None, requests, task })
    }

    /// Its address.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
    /// How many requests there were since the last call of `take`.
    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
    /// The request lines since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for CountingProxy {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

fn path_of(engine: &str) -> Outcome<PathBuf> {
    Ok(engine.strip_prefix("unix://").ok_or("requests are counted before a Unix socket")?.into())
}

async fn forward(client: impl AsyncRead + AsyncWrite, engine: PathBuf, requests: Arc<Mutex<Vec<String>>>) {
    let Ok(server) = UnixStream::connect(&engine).await else { return };
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 64 * 1024];
        let mut lines = Lines::default();
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let found = lines.requests_in(&buffer[..read]);
            requests.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
            if to_server.write_all(&buffer[..read]).await.is_err() {
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

/// Finds the lines of requests in what a client sends, wherever reads begin and end.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn requests_in(&mut self, bytes: &[u8]) -> Vec<String> {
        const VERBS: [&str; 5] = ["GET /", "POST /", "DELETE /", "HEAD /", "PUT /"];
        self.0.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            // A body may stand before it: bodies do not end with a line's end.
            if let Some(line) = line.trim_end().strip_suffix(" HTTP/1.1") {
                let begin = VERBS.iter().filter_map(|verb| line.rfind(verb)).max();
                found.extend(begin.map(|begin| line[begin..].to_owned()));
            }
        }
        // A long body is no line; the start of the next request may be at its end.
        let surplus = self.0.len().saturating_sub(4096);
        self.0.drain(..surplus);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn requests_are_found_wherever_reads_begin() {
        let mut lines = Lines::default();
        assert_eq!(lines.requests_in(b"POST /a HTTP/1.1\r\nhost: x\r\n\r\n{\"a\": 1}GET /b HT"), ["POST /a"]);
        assert_eq!(lines.requests_in(b"TP/1.1\r\nhost: x\r\n\r\n"), ["GET /b"]);
        assert!(lines.requests_in(b"GET /c").is_empty());
    }
}
