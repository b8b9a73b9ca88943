//! The host's end of the fork server: one small process from which supervisors are forked.
//!
//! Running the host's program again takes a loader, relocations and a runtime's first steps, once for each supervisor,
//! and each would hold the relocated pages for itself. Forked from a process that has all that behind it, a supervisor
//! begins four times sooner and shares those pages with all others, however large the host's program is.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hodei_worker_core::{Error, ErrorKind, Result, Retry};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
        sendmsg, socketpair,
    },
};

use crate::{
    error,
    layout::RunKey,
    supervise::{ARGUMENT, NAME},
    wire::{Launch, Reply},
};

/// Longer than a machine takes that is overloaded, and not for ever: what does not answer by then is no supervisor.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is kept of what the fork server says before it serves.
const LAST_WORDS: usize = 4096;

/// Started with the first worker, and anew when it was lost.
#[derive(Debug, Default)]
pub(crate) struct ForkServer(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    /// Its end is the fork server's, too.
    socket: OwnedFd,
    child: Child,
}

impl ForkServer {
    /// Has a run supervised, and waits for the supervisor's answer, which comes when the worker runs or cannot. It
    /// blocks.
    pub(crate) fn start(&self, program: &Path, root: &Path, key: &RunKey, launch: &Launch) -> Result<Reply> {
        let failed = |error| {
            Err(error::spawn("the worker's supervisor", error).with_context("path", program.display()))
        };
        let mut again = true;
        loop {
            let (ours, theirs) = match UnixStream::pair() {
                Ok(pair) => pair,
                Err(error) => return failed(error),
            };
            let asked = match self.ask(program, root, key, &theirs) {
                Ok(asked) => asked,
                Err(error) => return failed(error),
            };
            drop(theirs);
            match converse(&ours, launch) {
                Ok(Some(reply)) => return Ok(reply),
                // It was lost with what it had still to do: its claim says whether this run has begun.
                Ok(None) if again && !self.serves(asked) => again = false,
                Ok(None) => return Err(self.silence(program, "it ended without an answer")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // No supervisor at all, or stopped: whoever comes next gets another.
                    let lost = self.lock().take_if(|running| running.child.id() == asked);
                    drop(lost);
                    return Err(self.silence(program, "it did not answer"));
                }
                Err(error) => return failed(error),
            }
        }
    }

    /// Whether this is the process that serves, and it is there.
    fn serves(&self, asked: u32) -> bool {
        self.lock().as_ref().is_some_and(|running| running.child.id() == asked && !running.has_ended())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over a run and the other end of the conversation about it; the number of the process that was asked.
    fn ask(&self, program: &Path, root: &Path, key: &RunKey, conversation: &UnixStream) -> io::Result<u32> {
        let mut state = self.lock();
        if let Some(running) = &*state {
            match running.send(key, conversation) {
                // Somebody ended it.
                Err(error) if is_gone(&error) => {}
                sent => return sent.map(|()| running.child.id()),
            }
        }
        let running = state.insert(Running::start(program, root)?);
        match running.send(key, conversation) {
            // It ended by itself, which is heard of by its silence.
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(running.child.id()),
        }
    }

    /// Why there was no answer.
    fn silence(&self, program: &Path, why: &str) -> Error {
        let said = self.lock().take_if(|running| running.has_ended()).map(Running::last_words);
        let error =
            Error::new(ErrorKind::Unexpected, format!("the worker's supervisor could not begin: {why}"))
                .with_context("path", program.display())
                .with_retry(Retry::IfIdempotent);
        match said.unwrap_or_default().trim() {
            "" => error.with_help(
                "the first line of `main` must be `hodei_worker_process::init()`, or the setting `supervisor` name \
                 the program `hodei-supervise` of the same version",
            ),
            said => error.with_context("said", said),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

impl Running {
    fn start(program: &Path, root: &Path) -> io::Result<Self> {
        // A message is a request, whole and apart from the next.
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let mut command = Command::new(program);
        command.arg0(NAME).arg(ARGUMENT).arg(root).env_clear();
        // Where the host's program finds its libraries. Workers get an environment of their own.
        if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", path);
        }
        let child =
            command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        Ok(Self { socket, child })
    }

    fn send(&self, key: &RunKey, conversation: &UnixStream) -> io::Result<()> {
        let descriptors = [conversation.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        message.push(SendAncillaryMessage::ScmRights(&descriptors));
        let text = key.to_string();
        loop {
            match sendmsg(
                &self.socket,
                &[io::IoSlice::new(text.as_bytes())],
                &mut message,
                SendFlags::NOSIGNAL,
            ) {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Whether its end of the socket is closed.
    fn has_ended(&self) -> bool {
        let mut ends = [PollFd::new(&self.socket, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut ends, Some(&at_once)).is_ok() && ends[0].revents().contains(PollFlags::HUP)
    }

    /// What it said before it could serve.
    fn last_words(mut self) -> String {
        let Some(mut stderr) = self.child.stderr.take() else { return String::new() };
        let mut said = vec![0; LAST_WORDS];
        // What it left behind may hold the pipe open.
        let read =
            rustix::io::ioctl_fionbio(&stderr, true).map_or(0, |()| stderr.read(&mut said).unwrap_or(0));
        String::from_utf8_lossy(&said[..read]).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not what was forked from it: those are sessions of their own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn converse(mut supervisor: &UnixStream, launch: &Launch) -> io::Result<Option<Reply>> {
    let bytes = serde_json::to_vec(launch)?;
    supervisor.set_write_timeout(Some(PATIENCE))?;
    supervisor.set_read_timeout(Some(PATIENCE))?;
    // One that ends early is heard of by its silence.
    let _ = supervisor.write_all(&bytes).and_then(|()| supervisor.shutdown(std::net::Shutdown::Write));
    let mut line = String::new();
    match BufReader::new(supervisor.take(64 * 1024)).read_line(&mut line) {
        Err(error) if !is_gone(&error) => return Err(error),
        _ => {}
    }
    Ok(serde_json::from_str(&line).ok())
}
