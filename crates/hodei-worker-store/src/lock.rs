//! Locks of files that a process which is just dying may hold a moment longer.

use std::{
    fs::{File, TryLockError},
    io,
    time::{Duration, Instant},
};

/// Takes the lock. Says whether it got it in that time.
///
/// A process that is just being started has all open files of the one that starts it until it executes its program, and
/// with them its locks, although that one may have been killed: who comes right after it has to wait a moment.
pub(crate) fn take(file: &File, patience: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if begun.elapsed() < patience => {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
