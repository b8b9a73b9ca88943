//! The fork server, from inside: it waits for runs and forks a supervisor for each.
//!
//! It stays what it was when it began: single-threaded, and as small as the program allows, since all that it holds is
//! what its supervisors share.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use fork::Fork;
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg},
    process::{WaitOptions, setsid, wait},
};

use super::{close_inherited, supervise};
use crate::{layout::RunKey, wire::Reply};

/// Longer than any run's name.
const LONGEST: usize = 256;

/// Serves until the host is gone. In a process that was forked it supervises, until its worker is gone.
pub(crate) fn serve(root: &Path) {
    // What the host could not do better than hear of by our end.
    let _ = run(root);
}

fn run(root: &Path) -> io::Result<()> {
    // A signal to the host's group, from a terminal, is none to us.
    setsid()?;
    close_inherited()?;
    std::env::set_current_dir("/")?;
    let ended: SigSet = [Signal::SIGCHLD].into_iter().collect();
    ended.thread_block()?;
    let ended = SignalFd::with_flags(&ended, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    // From here on nobody reads what we say.
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stderr(&null)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(&null)?;
    drop(null);
    loop {
        let mut ready = [PollFd::new(&socket, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            polled => polled?,
        };
        let [asked, died] = ready.map(|one| !one.revents().is_empty());
        if died {
            while let Ok(Some(_)) = ended.read_signal() {}
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        }
        if !asked {
            continue;
        }
        match receive(socket.as_fd())? {
            Received::Run(key, conversation) => {
                if let Some((key, conversation)) = forked(key, conversation) {
                    drop((socket, ended));
                    return take_over(root, &key, conversation);
                }
            }
            Received::Nonsense => {}
            Received::End => return Ok(()),
        }
    }
}

enum Received {
    Run(RunKey, OwnedFd),
    /// Not from a host of this version.
    Nonsense,
    End,
}

fn receive(socket: BorrowedFd<'_>) -> io::Result<Received> {
    let mut text = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let message = match recvmsg(socket, &mut [io::IoSliceMut::new(&mut text)], &mut attached, flags) {
        Err(rustix::io::Errno::INTR) => return Ok(Received::Nonsense),
        Err(rustix::io::Errno::CONNRESET) => return Ok(Received::End),
        message => message?,
    };
    if message.bytes == 0 {
        return Ok(Received::End);
    }
    let descriptor = attached.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let whole = !message.flags.contains(ReturnFlags::TRUNC);
    let key =
        std::str::from_utf8(&text[..message.bytes.min(LONGEST)]).ok().and_then(|text| text.parse().ok());
    Ok(match key.zip(descriptor).filter(|_| whole) {
        Some((key, descriptor)) => Received::Run(key, descriptor),
        None => Received::Nonsense,
    })
}

/// Forks. `None` in the fork server.
fn forked(key: RunKey, conversation: OwnedFd) -> Option<(RunKey, OwnedFd)> {
    match fork::fork() {
        Ok(Fork::Child) => Some((key, conversation)),
        Ok(Fork::Parent(_)) => None,
        Err(error) => {
            let what = format!("forking the worker's supervisor: {error}");
            let reply = Reply::Broken { what, errno: error.raw_os_error().unwrap_or_default() };
            let _ = serde_json::to_vec(&reply).map(|line| File::from(conversation).write_all(&line));
            None
        }
    }
}

/// Supervises a run in a process of its own.
fn take_over(root: &Path, key: &RunKey, conversation: OwnedFd) -> io::Result<()> {
    rustix::stdio::dup2_stdin(&conversation)?;
    rustix::stdio::dup2_stdout(&conversation)?;
    drop(conversation);
    // All have the same arguments; the worker's name tells them apart in process lists.
    let name = std::ffi::CString::new(key.creation.worker.id.as_str()).unwrap_or_default();
    let _ = rustix::thread::set_name(&name);
    supervise(root, key);
    Ok(())
}
