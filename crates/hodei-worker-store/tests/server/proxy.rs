//! Something between store and server that can fail in chosen ways.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinSet,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Pass,
    /// What the store sends is kept, and passed on when the mode changes.
    HoldRequests,
    /// What the store sends is passed on; at the first answer the connection is cut, and the answer lost.
    LoseAnswers,
    /// Every connection is cut, and none comes about.
    Cut,
}

/// A proxy in front of the server. It ends when it is dropped.
pub(crate) struct Proxy {
    mode: Arc<watch::Sender<Mode>>,
    /// Bytes that came from the store while they were held.
    held: Arc<watch::Sender<u64>>,
    pub(crate) port: u16,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn new(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let held = Arc::new(watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        let (modes, counter) = (Arc::clone(&mode), Arc::clone(&held));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if *modes.borrow() != Mode::Cut {
                    connections.spawn(serve(
                        Arc::clone(&modes),
                        Arc::clone(&counter),
                        client,
                        server.clone(),
                    ));
                }
            }
        });
        Self { mode, held, port, _tasks: tasks }
    }
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
    /// Waits until a request is held.
    pub(crate) async fn holds(&self) {
        let wait = async { drop(self.held.subscribe().wait_for(|held| *held > 0).await.unwrap()) };
        super::limit(wait).await;
    }
}

async fn serve(
    modes: Arc<watch::Sender<Mode>>,
    held: Arc<watch::Sender<u64>>,
    client: TcpStream,
    server: String,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = modes.subscribe();
    tokio::select! {
        () = requests(&modes, &held, from_client, to_server) => {}
        () = answers(&modes, from_server, to_client) => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn requests(
    modes: &watch::Sender<Mode>,
    held: &watch::Sender<u64>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if *modes.borrow() == Mode::HoldRequests {
            held.send_modify(|held| *held += count as u64);
            if modes.subscribe().wait_for(|mode| *mode != Mode::HoldRequests).await.is_err() {
                return;
            }
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn answers(modes: &watch::Sender<Mode>, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if *modes.borrow() == Mode::LoseAnswers || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
