//! What this process does when it is signalled, and what a worker inherits of that: nothing.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::sys::{
    signal::{SigSet, SigmaskHow, Signal},
    signalfd::{SfdFlags, SignalFd},
};

/// Those that a host may have ignored for its children, and the one for a log that grows beyond a limit of the host's.
/// A handler becomes the default again when a worker is executed, what is ignored stays so.
const HANDLED: [Signal; 8] = [
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGXFSZ,
];

/// Those that mean something to a supervisor. A request to end that comes from the system (a service manager at
/// shutdown) becomes a graceful stop of the worker.
const HEARD: [Signal; 4] = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// The signals of a supervisor.
pub(super) struct Signals {
    heard: SigSet,
    pub(super) descriptor: SignalFd,
    /// Asked to end before [`listen`](Self::listen).
    early: Arc<AtomicBool>,
}

impl Signals {
    /// Forgets what the host had blocked and ignored. The worker is to be started after this, and before
    /// [`listen`](Self::listen), since it inherits what is blocked.
    pub(super) fn new() -> io::Result<Self> {
        let (early, other) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in HANDLED {
            let asks = HEARD.contains(&signal) && signal != Signal::SIGCHLD;
            let flag = Arc::clone(if asks { &early } else { &other });
            signal_hook::flag::register(signal as i32, flag)?;
        }
        SigSet::empty().thread_set_mask()?;
        let heard: SigSet = HEARD.into_iter().collect();
        let descriptor = SignalFd::with_flags(&heard, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { heard, descriptor, early })
    }

    /// From here on signals come through the descriptor. Whether one that asks to end has come before.
    pub(super) fn listen(&self) -> io::Result<bool> {
        self.heard.thread_block()?;
        Ok(self.early.load(Ordering::Relaxed))
    }

    /// Whether one that asks to end has come.
    pub(super) fn read(&mut self) -> bool {
        let mut asked = false;
        while let Ok(Some(signal)) = self.descriptor.read_signal() {
            asked |= signal.ssi_signo != Signal::SIGCHLD as u32;
        }
        asked
    }
}

/// Starts a process with nothing blocked: it would inherit what this thread blocks, and could not be asked to end.
pub(crate) fn unblocked<T>(spawn: impl FnOnce() -> T) -> T {
    let before = SigSet::thread_get_mask().ok().filter(|mask| *mask != SigSet::empty());
    let Some(before) = before else { return spawn() };
    let _ = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let spawned = spawn();
    let _ = before.thread_set_mask();
    spawned
}

/// Whether this process ignores these signals, by number: then what it starts does, too.
pub(crate) fn ignored() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).filter(|number| mask >> (number - 1) & 1 == 1).collect()
}
