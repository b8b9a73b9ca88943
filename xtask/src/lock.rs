//! One run of real parts at a time on a machine.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::failure::{Context, Result};
use crate::site::Site;
use crate::stop;

/// The machine's lock; given back when dropped, or when the process ends however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting for whoever holds it, and says who that is.
    pub(crate) fn take(site: &Site, what: &str) -> Result<Self> {
        std::fs::create_dir_all(&site.base).context(format_args!("creating {}", site.base.display()))?;
        let path = site.base.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .context(format_args!("opening {}", path.display()))?;
        let mut told = false;
        while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if !told {
                told = true;
                let mut holder = String::new();
                file.rewind()?;
                file.read_to_string(&mut holder)?;
                println!("waiting: the parts are in use by {}", holder.trim());
            }
            stop::check()?;
            stop::settle(Duration::from_millis(200));
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "`cargo xtask {what}` in {} (pid {})", site.root.display(), std::process::id())?;
        Ok(Self { _file: file })
    }
}
