//! The hook in the first line of `main`.

#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the hook was run: a fact about this process, which is why it may be global.
#[cfg(target_os = "linux")]
static HOOKED: AtomicBool = AtomicBool::new(false);

/// Lets this program supervise its own workers. Call it in the first line of `main`, before any runtime or thread.
///
/// A worker that survives its host needs a process beside it. That process is this program once more: when it is
/// started to supervise, `init` does that work and never returns. Otherwise it returns at once, and notes that
/// the hook is there. Without it, and without the setting `supervisor`, workers are children of the host.
///
/// # Examples
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     hodei_worker_process::init();
///     // Everything else, the runtime included, comes after.
/// #   ExitCode::SUCCESS
/// }
/// ```
pub fn init() {
    #[cfg(target_os = "linux")]
    {
        if let Some(root) = crate::supervise::arguments(std::env::args_os()) {
            crate::supervise::serve(root.as_ref());
            // This process is a supervisor's, whose work is done, and no host's.
            #[allow(clippy::disallowed_methods)]
            std::process::exit(0);
        }
        HOOKED.store(true, Ordering::Release);
    }
}

/// Whether this program may be run again as a supervisor.
#[cfg(target_os = "linux")]
pub(crate) fn is_there() -> bool {
    HOOKED.load(Ordering::Acquire)
}
