//! Looks at every container that the tests make as `docker inspect` shows it, and finds the secrets in it: in the tests
//! every secret begins with the same word. At the end it looks at what is left in the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Docker, content};
use crate::failure::{Context, Failure, Result};
use crate::site::Site;
use crate::stop;
use crate::tools::http::{Endpoint, Request};
use crate::tools::image;

/// How secrets begin in the tests.
const PLANTED: &str = "planted-";
/// Holds one on purpose: a watch that does not find it has seen nothing.
const CONTROL: &str = "hodei-watch-control";

/// What a watch has seen.
#[derive(Debug, Default)]
struct Seen {
    inspected: usize,
    /// Gone before they were looked at.
    missed: Vec<String>,
    /// With a secret in what is shown of them.
    open: Vec<String>,
}

/// A thread that inspects each container as it is made.
#[derive(Debug)]
pub(crate) struct Watch {
    name: &'static str,
    engine: Endpoint,
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Docker {
    /// Begins to look at the containers of an engine of ours. One that is the user's has other containers as well.
    pub(crate) fn watch(&self, site: &Site) -> Option<Watch> {
        if self.given(site).is_some() {
            return None;
        }
        let engine = self.endpoint_of_ours(site);
        let ending = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (engine, ending) = (engine.clone(), Arc::clone(&ending));
            move || look(&engine, &ending)
        });
        Some(Watch { name: self.name, engine, ending, thread })
    }
}

impl Watch {
    /// Ends it. Says what it has seen, or what should not have been there.
    pub(crate) fn finish(self) -> Result<String> {
        let made = make_control(&self.engine).context(format_args!("{}: the watch's control", self.name));
        self.ending.store(true, Ordering::Release);
        let seen = self.thread.join().map_err(|_| Failure::new("the watch of containers panicked"))?;
        made?;
        let seen = seen.judge(self.name)?;
        match content::left_behind(&self.engine)? {
            left if left.is_empty() => Ok(format!("{seen}; nothing of a worker is left")),
            left => Err(Failure(format!("{}: the tests have left {}", self.name, left.join(", ")))),
        }
    }
}

impl Seen {
    fn judge(mut self, name: &str) -> Result<String> {
        let all = self.open.len();
        self.open.retain(|open| open != CONTROL);
        if self.open.len() == all {
            return Err(Failure(format!("{name}: the watch of containers has not seen its own")));
        }
        if !self.open.is_empty() {
            let names = self.open.join(", ");
            return Err(Failure(format!("{name}: `docker inspect` shows a secret of {names}")));
        }
        let Self { inspected, missed, .. } = self;
        let missed = match missed.len() {
            0 => String::new(),
            n => format!("; {n} were gone before: {}", missed.join(", ")),
        };
        Ok(format!("{name}: {inspected} containers inspected, none shows a secret{missed}"))
    }

    fn inspect(&mut self, engine: &Endpoint, id: &str, name: &str) {
        match engine.get(&format!("/containers/{id}/json")) {
            Ok(shown) => {
                self.inspected += 1;
                if shown.contains(PLANTED) {
                    self.open.push(name.to_owned());
                }
            }
            Err(_) => self.missed.push(name.to_owned()),
        }
    }
}

/// Follows what the engine tells, through its restarts, until it is told to end and nothing is left to be read.
fn look(engine: &Endpoint, ending: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    // What was told before a cut is not told again; its nanoseconds tell the events apart.
    let mut last = 0;
    loop {
        let filters = r#"{"type":{"container":true},"event":{"create":true}}"#.replace('"', "%22");
        let since = last / 1_000_000_000;
        let path = format!("/events?since={since}&filters={filters}");
        let read = engine.lines(&path, Duration::from_millis(200), |line| {
            let Some(line) = line else { return !ending.load(Ordering::Acquire) };
            let Ok(event) = serde_json::from_str::<Value>(line) else { return true };
            let at = event["timeNano"].as_u64().unwrap_or_default();
            if at > last {
                last = at;
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let actor = &event["Actor"];
                seen.inspect(engine, &text(&actor["ID"]), &text(&actor["Attributes"]["name"]));
            }
            true
        });
        // A test has stopped the engine: it comes back.
        if ending.load(Ordering::Acquire) && (read.is_ok() || engine.get("/_ping").is_err()) {
            return seen;
        }
        stop::settle(Duration::from_millis(20));
    }
}

/// Makes a container that shows a secret, and removes it when it must have been seen.
fn make_control(engine: &Endpoint) -> Result<()> {
    let body = json!({"Image": image::NAME, "Env": [format!("SHOWN={PLANTED}control")]}).to_string();
    let path = format!("/containers/create?name={CONTROL}");
    let json = "Content-Type: application/json\r\n";
    engine.call(&Request::new("POST", &path).headers(json).text(&body))?;
    // Nothing can be waited for but the watch itself, which looks within this time.
    stop::settle(Duration::from_secs(1));
    engine.send(&Request::new("DELETE", &format!("/containers/{CONTROL}?force=1"))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(open: &[&str], missed: &[&str]) -> Result<String> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Seen { inspected: 7, missed: own(missed), open: own(open) }.judge("docker")
    }

    #[test]
    fn a_watch_that_is_blind_or_finds_a_secret_is_a_problem() {
        assert!(seen(&[], &[]).unwrap_err().0.contains("has not seen its own"));
        assert!(seen(&[CONTROL, "bad"], &[]).unwrap_err().0.ends_with("a secret of bad"));
        assert_eq!(
            seen(&[CONTROL], &["short"]).unwrap(),
            "docker: 7 containers inspected, none shows a secret; 1 were gone before: short"
        );
    }
}
