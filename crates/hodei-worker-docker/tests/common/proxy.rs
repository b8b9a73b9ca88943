//! Something between provider and engine that counts requests, and fails in chosen ways.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
};

/// What a proxy does with requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Every request is answered with 500.
    Refuse,
    /// Requests whose path holds this are kept, and lost with their connection when the mode changes.
    Lose(&'static str),
    /// Requests whose path holds this are kept, and passed on when the mode changes.
    Hold(&'static str),
}

/// An answer that the proxy gives in the engine's place, once, to a request whose line holds `part`.
struct Planned {
    part: &'static str,
    status: u16,
    body: String,
}

struct State {
    planned: Mutex<Vec<Planned>>,
    mode: watch::Sender<Mode>,
    requests: Mutex<Vec<String>>,
    /// The bodies of those that had one, with their lines.
    bodies: Mutex<Vec<(String, Vec<u8>)>>,
    asked: watch::Sender<u64>,
    /// Connections older than this neither pass a byte on nor end.
    frozen: watch::Sender<u64>,
    opened: Mutex<u64>,
    /// How much later the engine's clock is said to be.
    later: Mutex<Duration>,
}

/// A proxy in front of the engine's socket. It ends when it is dropped.
pub(crate) struct Proxy {
    state: Arc<State>,
    pub(crate) endpoint: String,
    _folder: Option<tempfile::TempDir>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// On a Unix socket.
    pub(crate) fn unix(engine: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("proxy.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let endpoint = format!("unix://{}", path.display());
        Self::new(endpoint, Some(folder), engine, Listener::Unix(listener))
    }

    /// On a TCP port.
    pub(crate) async fn tcp(engine: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
        Self::new(endpoint, None, engine, Listener::Tcp(listener))
    }

    fn new(endpoint: String, folder: Option<tempfile::TempDir>, engine: String, listener: Listener) -> Self {
        let state = Arc::new(State {
            planned: Mutex::default(),
            mode: watch::Sender::new(Mode::Pass),
            requests: Mutex::default(),
            bodies: Mutex::default(),
            asked: watch::Sender::new(0),
            frozen: watch::Sender::new(0),
            opened: Mutex::new(0),
            later: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&state);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok(client) = listener.accept().await {
                let number = {
                    let mut opened = shared.opened.lock().unwrap();
                    *opened += 1;
                    *opened
                };
                connections.spawn(serve(Arc::clone(&shared), number, client, engine.clone()));
            }
        });
        Self { state, endpoint, _folder: folder, _tasks: tasks }
    }

    /// The engine's clock is so much later from now on.
    pub(crate) fn advance(&self, by: Duration) {
        *self.state.later.lock().unwrap() = by;
    }
    pub(crate) fn set(&self, mode: Mode) {
        self.state.mode.send_replace(mode);
    }
    /// The next request whose line holds this gets that answer, and never reaches the engine.
    pub(crate) fn plan(&self, part: &'static str, status: u16, body: impl Into<String>) {
        self.state.planned.lock().unwrap().push(Planned { part, status, body: body.into() });
    }
    /// All connections that are open now fall silent; new ones work.
    pub(crate) fn freeze(&self) {
        let opened = *self.state.opened.lock().unwrap();
        self.state.frozen.send_replace(opened);
    }
    /// Waits until something like this has been asked for since the last call of `take`.
    pub(crate) async fn asked(&self, part: &str) {
        let asked = |_: &u64| self.state.requests.lock().unwrap().iter().any(|line| line.contains(part));
        super::limit(self.state.asked.subscribe().wait_for(asked)).await.unwrap();
    }
    /// The newest body of a request whose line holds this, as JSON.
    pub(crate) fn body(&self, part: &str) -> serde_json::Value {
        let bodies = self.state.bodies.lock().unwrap();
        let found = bodies.iter().rev().find(|(line, _)| line.contains(part));
        serde_json::from_slice(&found.unwrap_or_else(|| panic!("no `{part}` was asked for")).1).unwrap()
    }
    /// Connections so far.
    pub(crate) fn opened(&self) -> u64 {
        *self.state.opened.lock().unwrap()
    }
    /// What was asked for since the last call: method and path.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock().unwrap())
    }
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

async fn serve(state: Arc<State>, number: u64, client: Box<dyn Duplex>, engine: String) {
    let Ok(server) = UnixStream::connect(engine).await else { return };
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let mut frozen = state.frozen.subscribe();
    let work = async {
        let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
        tokio::select! {
            _ = forward_requests(&state, from_client, to_server, Arc::clone(&to_client)) => {}
            _ = forward_answers(&state, from_server, Arc::clone(&to_client)) => {}
        }
    };
    tokio::pin!(work);
    let silence = async { frozen.wait_for(|frozen| *frozen >= number).await.is_ok() };
    let fell_silent = tokio::select! {
        () = &mut work => false,
        fell_silent = silence => fell_silent,
    };
    if fell_silent {
        // Both sides keep their connection, and hear nothing.
        std::future::pending::<()>().await;
    }
}

async fn forward_answers<R, W>(state: &State, mut from: R, to: Arc<tokio::sync::Mutex<W>>) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let later = *state.later.lock().unwrap();
        if !later.is_zero() {
            date_later(&mut buffer[..count], later);
        }
        let mut to = to.lock().await;
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}

/// An answer's date, if it begins here, as a later one.
fn date_later(answer: &mut [u8], by: Duration) {
    const NAME: &[u8] = b"\r\nDate: ";
    const LENGTH: usize = "Mon, 30 Nov 2026 01:02:03 GMT".len();
    let Some(begin) = answer.windows(NAME.len()).position(|window| window == NAME) else { return };
    let date = &mut answer[begin + NAME.len()..][..LENGTH];
    let known = jiff::fmt::rfc2822::parse(std::str::from_utf8(date).unwrap()).unwrap().timestamp();
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&(known + by)).unwrap();
    date.copy_from_slice(text.as_bytes());
}

async fn forward_requests<R, W, C>(
    state: &State,
    mut from: R,
    mut to: W,
    client: Arc<tokio::sync::Mutex<C>>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    C: AsyncWrite + Unpin,
{
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if from.read_buf(&mut buffer).await? == 0 {
                to.shutdown().await?;
                return std::future::pending().await;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let line = String::from_utf8_lossy(&buffer[..end]).lines().next().unwrap_or_default().to_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let whole = end + length.unwrap_or(0_usize);
        while buffer.len() < whole {
            if from.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let mut words = line.split(' ');
        let asked = format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default());
        state.requests.lock().unwrap().push(asked.clone());
        state.asked.send_modify(|count| *count += 1);
        let rest = buffer.split_off(whole);
        if whole > end {
            state.bodies.lock().unwrap().push((asked.clone(), buffer[end..].to_vec()));
        }
        let mode = *state.mode.borrow();
        if let Mode::Lose(part) = mode
            && asked.contains(part)
        {
            state.mode.subscribe().wait_for(|now| *now != mode).await.ok();
            return Ok(());
        }
        if let Mode::Hold(part) = mode
            && asked.contains(part)
        {
            state.mode.subscribe().wait_for(|now| *now != mode).await.ok();
        }
        let planned = {
            let mut all = state.planned.lock().unwrap();
            all.iter().position(|planned| asked.contains(planned.part)).map(|at| all.remove(at))
        };
        let refused = || (500, r#"{"message":"refused by the test"}"#.to_owned());
        let planned = planned.map(|planned| (planned.status, planned.body));
        if let Some((status, body)) = planned.or_else(|| (mode == Mode::Refuse).then(refused)) {
            let answer = format!(
                "HTTP/1.1 {status} Planned\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            client.lock().await.write_all(answer.as_bytes()).await?;
        } else {
            to.write_all(&buffer).await?;
            to.flush().await?;
        }
        buffer = rest;
        if head.contains("upgrade: ") {
            to.write_all(&buffer).await?;
            tokio::io::copy(&mut from, &mut to).await?;
            to.shutdown().await?;
            return std::future::pending().await;
        }
    }
}
