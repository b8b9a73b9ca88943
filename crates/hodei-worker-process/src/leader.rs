//! The main process of an attached worker: its group ends with it, whatever ends the task that waits for it.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, ExitStatus},
};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, pidfd_open, waitid,
};
use tokio::io::unix::AsyncFd;

use crate::{
    ready::register,
    supervise::{raw, wait_for},
};

/// A process that leads a group of its own, both of which are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Leader {
    child: Child,
    pid: Pid,
    /// Once it is, its number and its group's may be another's.
    reaped: Option<ExitStatus>,
    /// A pidfd, readable when the process has ended.
    end: Option<AsyncFd<OwnedFd>>,
}

impl Leader {
    pub(crate) fn new(child: Child) -> Self {
        let pid = Pid::from_child(&child);
        Self { child, pid, reaped: None, end: None }
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Begins to wait for its end. Call it inside a Tokio runtime.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        self.end = Some(register(pidfd_open(self.pid, PidfdFlags::NONBLOCK)?)?);
        Ok(())
    }

    /// Waits until it has ended; it is not reaped by that. Cancel-safe.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        match &self.end {
            Some(end) => end.readable().await.map(drop),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The raw status with which it has ended, while it is not reaped.
    pub(crate) fn status(&self) -> Option<i32> {
        if self.reaped.is_some() {
            return None;
        }
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        raw(&waitid(WaitId::Pid(self.pid), look).ok()??)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if self.reaped.is_none() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Kills what is left of its group and reaps it; how it ended, if it has. In this order: a number belongs to its
    /// process until that is reaped.
    pub(crate) fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.reaped.is_none() {
            let _ = kill_process_group(self.pid, Signal::KILL);
            self.reaped = self.child.try_wait()?;
        }
        Ok(self.reaped)
    }

    /// Kills it with its group, and waits for a second at most.
    pub(crate) fn kill(&mut self) -> Option<ExitStatus> {
        if let Ok(None) = self.reap() {
            wait_for(self.pid());
            let _ = self.reap();
        }
        self.reaped
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.kill();
    }
}
