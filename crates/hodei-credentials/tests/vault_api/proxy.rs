//! Stands between a provider and a node: counts what is asked, and loses answers.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A node's address in its place.
pub(crate) struct Proxy {
    pub(crate) address: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// Method and path of each request.
    asked: Mutex<Vec<String>>,
    /// The answer to the next request that begins so is lost, though the node has done what it was asked.
    loses: Mutex<Option<String>>,
    has_lost: AtomicBool,
    /// With that answer it is over.
    dies: AtomicBool,
    is_dead: AtomicBool,
}

impl Proxy {
    pub(crate) async fn start(to: &str) -> Self {
        let to = to.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, to.clone(), Arc::clone(&shared)));
            }
        });
        Self { address, state, task }
    }

    /// What was asked since the last look.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.asked.lock().unwrap())
    }
    pub(crate) fn lose_the_answer_to(&self, begin: &str) {
        *self.state.loses.lock().unwrap() = Some(begin.to_owned());
    }
    /// Nobody is let in any more after that.
    pub(crate) fn dies_with_the_answer(&self) {
        self.state.dies.store(true, Ordering::Relaxed);
    }
    /// Whether it has lost one since the last look.
    pub(crate) fn has_lost(&self) -> bool {
        self.state.has_lost.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, to: String, state: Arc<State>) {
    if state.is_dead.load(Ordering::Relaxed) {
        return;
    }
    let Ok(mut node) = TcpStream::connect(to).await else { return };
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut loses = false;
    loop {
        tokio::select! {
            // Requests of these tests are small and one after the other: each is one piece.
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let line: String =
                    String::from_utf8_lossy(&up[..length]).split(" HTTP/1.1").next().unwrap_or_default().to_owned();
                if line.contains(" /v1/") && !line.contains('\n') {
                    let mut wanted = state.loses.lock().unwrap();
                    loses = wanted.as_ref().is_some_and(|begin| line.starts_with(begin.as_str()));
                    if loses {
                        *wanted = None;
                    }
                    state.asked.lock().unwrap().push(line);
                }
                if node.write_all(&up[..length]).await.is_err() {
                    return;
                }
            }
            read = node.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if loses {
                    state.has_lost.store(true, Ordering::Relaxed);
                    state.is_dead.store(state.dies.load(Ordering::Relaxed), Ordering::Relaxed);
                    return;
                }
                if client.write_all(&down[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
