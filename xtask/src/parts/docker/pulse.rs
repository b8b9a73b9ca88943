//! Sees an engine that hangs: Debian's has locked itself out of its own networks once in many runs, and then answered
//! nothing that has to do with them for good. What its goroutines wait for is written down, and it is started anew.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::Docker;
use crate::failure::{Context, Result};
use crate::parts::Part as _;
use crate::site::Site;
use crate::stop;
use crate::tools::http::Endpoint;

/// No answer takes that long, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN: Duration = Duration::from_secs(5);
/// Places that are told, those of most goroutines first.
const TOLD: usize = 12;

impl Docker {
    /// Looks after the engine until `is_ending`, and counts how often it hung. What it says of that goes into the run's
    /// output at once.
    pub(super) fn look_after(&self, site: &Site, is_ending: impl Fn() -> bool, hung: &AtomicUsize) {
        let engine = self.endpoint_of_ours(site);
        while stop::unless(BETWEEN, &is_ending) {
            // Twice: a test may just have started it anew.
            if !(0..2).all(|_| hangs(&engine)) {
                continue;
            }
            hung.fetch_add(1, Ordering::AcqRel);
            println!("\n{}: the engine does not answer", self.name);
            match self.stacks(site) {
                Ok(stacks) => println!("its goroutines stand in\n{}", digest(&stacks)),
                Err(error) => println!("where it stands is not known: {error}"),
            }
            match self.control(site, "kill").and_then(|()| self.control(site, "start")) {
                Ok(()) => println!("{}: the engine was started anew\n", self.name),
                Err(error) => println!("{}: the engine cannot be started anew: {error}\n", self.name),
            }
        }
    }

    /// What every goroutine of the engine does. A copy stays beside the engine's log.
    fn stacks(&self, site: &Site) -> Result<String> {
        let record = self.record(site)?;
        let before = self.dumps(site);
        record.identity.signal(Signal::USR1);
        let new = || self.dumps(site).into_iter().find(|file| !before.contains(file));
        let file = stop::wait_for("the engine's stacks", Duration::from_secs(20), || Ok(new()))?;
        // It is written in one go; an engine that hangs is in no hurry.
        stop::settle(Duration::from_secs(1));
        let text = fs::read_to_string(&file).context(format_args!("reading {}", file.display()))?;
        fs::write(site.logs().join(format!("{}-stacks.log", self.process)), &text)?;
        Ok(text)
    }

    fn dumps(&self, site: &Site) -> Vec<PathBuf> {
        let of_engine = |name: &str| name.starts_with("exec");
        let folders = fs::read_dir(self.state(site)).into_iter().flatten().flatten();
        let folders = folders.filter(|entry| entry.file_name().to_str().is_some_and(of_engine));
        let files = folders.flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten().flatten());
        let dumps = files.filter(|entry| entry.file_name().to_string_lossy().starts_with("goroutine-stacks"));
        dumps.map(|entry| entry.path()).collect()
    }
}

fn hangs(engine: &Endpoint) -> bool {
    let answer = engine.get_within("/info", PATIENCE);
    answer.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// How many goroutines stand in which of the engine's own functions, and what for.
fn digest(stacks: &str) -> String {
    let mut places = BTreeMap::<(String, String), usize>::new();
    for goroutine in stacks.split("\n\n").filter_map(place) {
        *places.entry(goroutine).or_default() += 1;
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let lines = places.iter().take(TOLD).map(|((why, place), count)| format!("  {count} {why}: {place}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a goroutine waits for, and the last functions on its way there that are not the language's.
fn place(goroutine: &str) -> Option<(String, String)> {
    let mut lines = goroutine.trim_start().lines();
    let (_, why) = lines.next()?.strip_prefix("goroutine ")?.split_once('[')?;
    // `semacquire, 12 minutes]:`
    let why = why.split([',', ']']).next().unwrap_or_default();
    let of_language =
        |name: &&str| ["runtime.", "sync.", "internal/", "net."].iter().any(|own| name.starts_with(own));
    let functions = lines.filter(|line| !line.starts_with(['\t', ' ']) && !line.starts_with("created by "));
    let names = functions.map(|line| line.rsplit_once('(').map_or(line, |(name, _)| name));
    let names: Vec<&str> = names.filter(|name| !of_language(name)).take(4).collect();
    Some((why.to_owned(), names.join(" < ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACKS: &str = "\
goroutine 1 [semacquire, 12 minutes]:
sync.runtime_SemacquireMutex(0x1, 0x0, 0x1)
\t/usr/lib/go/src/runtime/sema.go:77 +0x26
sync.(*Mutex).Lock(0xc000)
\t/usr/lib/go/src/sync/mutex.go:81
github.com/docker/libnetwork.(*controller).getStore(0xc0, {0x1, 0x2})
\t/build/store.go:63 +0x45
github.com/docker/docker/daemon.(*Daemon).create(0xc0)
\t/build/create.go:10 +0x45
created by net/http.(*Server).Serve
\t/usr/lib/go/src/net/http/server.go:3102 +0x4db

goroutine 9 [semacquire]:
sync.(*Mutex).Lock(...)
\t/usr/lib/go/src/sync/mutex.go:81
github.com/docker/libnetwork.(*controller).getStore(0xc1, {0x1, 0x2})
\t/build/store.go:63 +0x45
github.com/docker/docker/daemon.(*Daemon).create(0xc1)
\t/build/create.go:10 +0x45

goroutine 7 [chan receive]:
main.main()
\t/build/main.go:1 +0x1
";

    #[test]
    fn goroutines_that_stand_in_one_place_are_counted_together() {
        assert_eq!(
            digest(STACKS),
            "  2 semacquire: github.com/docker/libnetwork.(*controller).getStore < \
             github.com/docker/docker/daemon.(*Daemon).create\n  1 chan receive: main.main"
        );
    }
}
