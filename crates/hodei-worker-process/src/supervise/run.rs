//! While the worker runs: its output, its end, and what the host asks for.

use std::{
    fs::File,
    io::Read as _,
    os::fd::AsFd as _,
    process::{Child, ChildStderr, ChildStdout},
    time::{Duration, Instant},
};

use hodei_worker_core::{Clock as _, SystemClock};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions, WaitStatus, waitid, waitpid},
};

use super::{contain, finish, groups, note, signals::Signals};
use crate::{
    layout::{Layout, RunKey},
    logs::{Kind, LogWriter, Pump},
    proc,
    wire::{End, Exit, Launch, Request, Requests},
};

/// How often the pipes are read at the end, at most: more than enough for what fits into them.
const DRAIN: u32 = 1 << 14;

/// As good as for ever, and no overflow.
const LONGEST: Duration = Duration::from_secs(1 << 30);

/// A worker that runs, with all that its supervisor holds.
pub(super) struct Running {
    layout: Layout,
    key: RunKey,
    launch: Launch,
    /// Not reaped before its status is taken, so its number is its own.
    pid: Pid,
    stdout: Option<Pump<ChildStdout>>,
    stderr: Option<Pump<ChildStderr>>,
    log: LogWriter,
    control: File,
    requests: Requests,
    signals: Signals,
    stop: Stop,
    /// Held for life.
    _lock: File,
}

#[derive(Default)]
struct Stop {
    asked: bool,
    deadline: Option<Instant>,
    killed: bool,
}

impl Running {
    pub(super) fn new(
        layout: Layout,
        key: RunKey,
        mut launch: Launch,
        mut child: Child,
        log: LogWriter,
        (control, signals, lock): (File, Signals, File),
    ) -> Self {
        // Secrets among them are not kept longer than needed.
        launch.environment = Vec::new();
        Self {
            layout,
            key,
            launch,
            pid: Pid::from_child(&child),
            stdout: child.stdout.take().map(|pipe| Pump::new(pipe, Kind::Stdout)),
            stderr: child.stderr.take().map(|pipe| Pump::new(pipe, Kind::Stderr)),
            log,
            control,
            requests: Requests::default(),
            signals,
            stop: Stop::default(),
            _lock: lock,
        }
    }

    /// Runs until nothing of the worker is left, and writes down how it ended.
    pub(super) fn run_to_end(&mut self) {
        // A mask of known signals cannot be refused.
        if self.signals.listen().unwrap_or(true) {
            self.ask(Duration::from_millis(self.launch.stop_grace_ms));
        }
        let status = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            self.wait(None);
        };
        let beside = self.layout.exec_mark(&self.key).exists();
        let gone = contain::kill_all(&self.launch.groups, beside.then_some(self.launch.mark.as_str()));
        // Whoever could write is dead, unless it could not be killed: what is in the pipes is all.
        let mut turns = 0..DRAIN;
        while turns.next().is_some() && self.wait(Some(Duration::ZERO)) {}
        self.flush();
        let out_of_memory = groups::out_of_memory(&self.launch.groups);
        let _ = groups::remove(&self.launch.groups);
        let end = status.map_or(End::Lost, |status| End::Wait(status.as_raw()));
        let exit = Exit { out_of_memory, outlived: !gone, ..Exit::new(SystemClock.now(), end) };
        let _ = finish(&self.layout, &self.key, &exit);
    }

    /// Whether the worker's own process has ended, and how. Reaps what else has: orphans are ours.
    fn ended(&mut self) -> Option<Option<WaitStatus>> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if let Ok(Some(status)) = waitid(WaitId::Pid(self.pid), look)
            && let Some(raw) = raw(&status)
        {
            // Before it is reaped: then nobody else could learn it.
            let _ = note(&self.layout, &self.key, raw);
        }
        // By number first: were it reaped among the others, its status would have to be told apart.
        match waitpid(Some(self.pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => return Some(Some(status)),
            Ok(None) => {}
            Err(rustix::io::Errno::INTR) => return None,
            Err(_) => return Some(None),
        }
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => {
                    let _ = note(&self.layout, &self.key, status.as_raw());
                    return Some(Some(status));
                }
                Ok(Some(_)) => {}
                _ => return None,
            }
        }
    }

    /// Waits for output, a death, a request or the deadline, and does what is to be done. `false` when nothing came.
    fn wait(&mut self, at_most: Option<Duration>) -> bool {
        let until_kill =
            self.stop.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = [at_most, until_kill]
            .into_iter()
            .flatten()
            .min()
            .map(|time| Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) });
        let ready = {
            let mut watched = vec![
                PollFd::new(&self.signals.descriptor, PollFlags::IN),
                PollFd::new(&self.control, PollFlags::IN),
            ];
            let pipes = [
                self.stdout.as_ref().map(|pump| pump.source().as_fd()),
                self.stderr.as_ref().map(|pump| pump.source().as_fd()),
            ];
            for pipe in pipes.iter().flatten() {
                watched.push(PollFd::from_borrowed_fd(*pipe, PollFlags::IN));
            }
            if poll(&mut watched, timeout.as_ref()).is_err() {
                return true;
            }
            let mut ready = watched.iter().map(|one| !one.revents().is_empty());
            let mut next = || ready.next().unwrap_or(false);
            let (signals, control) = (next(), next());
            [signals, control, pipes[0].is_some() && next(), pipes[1].is_some() && next()]
        };
        let [signals, control, stdout, stderr] = ready;
        if stdout && !self.stdout.as_mut().is_some_and(|pump| pump.pump(&mut self.log)) {
            self.stdout = None;
        }
        if stderr && !self.stderr.as_mut().is_some_and(|pump| pump.pump(&mut self.log)) {
            self.stderr = None;
        }
        if control {
            self.obey();
        }
        if signals {
            self.signalled();
        }
        if self.stop.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.kill();
        }
        stdout || stderr
    }

    fn flush(&mut self) {
        if let Some(pump) = &mut self.stdout {
            pump.flush(&mut self.log);
        }
        if let Some(pump) = &mut self.stderr {
            pump.flush(&mut self.log);
        }
        self.log.end();
    }

    fn signalled(&mut self) {
        if self.signals.read() {
            self.ask(Duration::from_millis(self.launch.stop_grace_ms));
        }
    }

    fn obey(&mut self) {
        let mut bytes = [0; 256];
        while let Ok(read @ 1..) = self.control.read(&mut bytes) {
            self.requests.push(&bytes[..read]);
        }
        while let Some(request) = self.requests.next() {
            match request {
                Request::Stop(grace) => self.ask(grace),
                Request::Kill => self.kill(),
            }
        }
    }

    /// Asks the worker to end, once per run; again only shortens the time that it has.
    fn ask(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace.min(LONGEST);
        self.stop.deadline = Some(self.stop.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        if self.stop.asked || self.stop.killed {
            return;
        }
        self.stop.asked = true;
        if let Some(signal) = Signal::from_named_raw(self.launch.stop_signal) {
            // Its own process only: how it ends its children is its business until the kill.
            proc::signal(self.pid.as_raw_nonzero().get(), signal);
        }
    }

    fn kill(&mut self) {
        (self.stop.killed, self.stop.deadline) = (true, None);
        proc::signal(self.pid.as_raw_nonzero().get(), Signal::KILL);
    }
}

/// The status of `waitid(2)` as `wait(2)` would give it.
pub(crate) fn raw(status: &WaitIdStatus) -> Option<i32> {
    let code = status.exit_status().map(|code| (code & 0xff) << 8);
    let core = if status.dumped() { 0x80 } else { 0 };
    code.or_else(|| status.terminating_signal().map(|signal| signal | core))
}
