//! Looks at every container that the tests make as `docker inspect` shows it, when it is made and when it ends, and finds
//! the secrets in it: those that no test shows on purpose begin with the same word. At the end it looks at what is left in
//! the engine.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
/// Tests remove containers as soon as they are made: of so many that were looked at one may have been gone before.
const MISSED: usize = 4;

/// What a watch has seen.
#[derive(Debug, Default)]
struct Seen {
    inspected: HashSet<String>,
    /// Gone before they were looked at.
    missed: Vec<String>,
    /// With a secret in what is shown of them.
    open: Vec<String>,
}

/// What the two sides of a watch tell each other.
#[derive(Debug, Default)]
struct Signs {
    ending: AtomicBool,
    control_seen: AtomicBool,
    /// How often the engine hung.
    hung: AtomicUsize,
}

/// A thread that inspects each container as it is made.
#[derive(Debug)]
pub(crate) struct Watch {
    name: &'static str,
    engine: Endpoint,
    /// What an earlier run has left in an engine that was kept.
    left_before: Vec<String>,
    signs: Arc<Signs>,
    thread: JoinHandle<Seen>,
    pulse: JoinHandle<()>,
}

impl Docker {
    /// Begins to look at the containers of an engine of ours. One that is the user's has other containers as well.
    pub(crate) fn watch(&self, site: &Site) -> Option<Watch> {
        if self.given(site).is_some() {
            return None;
        }
        let engine = self.endpoint_of_ours(site);
        let signs = Arc::<Signs>::default();
        let thread = std::thread::spawn({
            let (engine, signs) = (engine.clone(), Arc::clone(&signs));
            move || look(&engine, &signs)
        });
        let pulse = std::thread::spawn({
            let (engine, site, signs) = (*self, site.clone(), Arc::clone(&signs));
            move || engine.look_after(&site, || signs.ending.load(Ordering::Acquire), &signs.hung)
        });
        let left_before = content::left_behind(&engine).unwrap_or_default();
        Some(Watch { name: self.name, engine, left_before, signs, thread, pulse })
    }
}

impl Watch {
    /// The part that it looks at.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// How often the engine has hung so far, and was started anew.
    pub(crate) fn hung(&self) -> usize {
        self.signs.hung.load(Ordering::Acquire)
    }

    /// Ends it. Says what it has seen, or all that should not have been there. How much it missed says something of a whole
    /// run alone: some tests remove all that they make at once.
    pub(crate) fn finish(self, is_whole: bool) -> Result<String> {
        let Self { name, engine, left_before, signs, thread, pulse } = self;
        let made = make_control(&engine, &signs).context(format_args!("{name}: the watch's control"));
        signs.ending.store(true, Ordering::Release);
        let seen = thread.join().map_err(|_| Failure::new("the watch of containers panicked"))?;
        pulse.join().map_err(|_| Failure::new("the look after the engine panicked"))?;
        let mut problems: Vec<String> = made.err().map(|error| error.0).into_iter().collect();
        let (seen, more) = seen.judge(name, is_whole);
        problems.extend(more);
        let hung = signs.hung.load(Ordering::Acquire);
        let mut left = String::from("nothing of a worker is left");
        match content::left_behind(&engine) {
            Ok(mut all) => {
                all.retain(|one| !left_before.contains(one));
                if !all.is_empty() {
                    left = format!("left are {}", all.join(", "));
                }
                // An engine that a test kills in the middle of a deletion keeps what it had not removed, and tests whose
                // engine hangs remove nothing.
                if hung == 0 && all.iter().any(|one| one.starts_with("container ")) {
                    problems.push(format!("{name}: the tests have left {}", all.join(", ")));
                }
            }
            Err(error) => problems.push(format!("{name}: what is left: {error}")),
        }
        let hung = match hung {
            0 => String::new(),
            n => format!("; IT HUNG {n} TIMES and was started anew"),
        };
        if problems.is_empty() {
            Ok(format!("{seen}; {left}{hung}"))
        } else {
            Err(Failure(problems.join("; ")))
        }
    }
}

impl Seen {
    /// What it has seen in words, and what is wrong with that.
    fn judge(mut self, name: &str, is_whole: bool) -> (String, Vec<String>) {
        let mut problems = Vec::new();
        let all = self.open.len();
        self.open.retain(|open| open != CONTROL);
        if self.open.len() == all {
            problems.push(format!("{name}: the watch of containers has not seen its own"));
        }
        if !self.open.is_empty() {
            let names = self.open.join(", ");
            problems.push(format!("{name}: `docker inspect` shows a secret of {names}"));
        }
        let (inspected, missed) = (self.inspected.len(), self.missed.len());
        if is_whole && missed > inspected / MISSED {
            problems.push(format!("{name}: {missed} containers were gone before they were looked at"));
        }
        let words = match missed {
            0 => String::new(),
            n => format!("; {n} were gone before: {}", self.missed.join(", ")),
        };
        (format!("{name}: {inspected} containers inspected, none shows a secret{words}"), problems)
    }

    fn inspect(&mut self, engine: &Endpoint, id: &str, name: &str) {
        match engine.get(&format!("/containers/{id}/json")) {
            Ok(shown) => {
                self.inspected.insert(id.to_owned());
                if shown.contains(PLANTED) && !self.open.iter().any(|open| open == name) {
                    self.open.push(name.to_owned());
                }
            }
            Err(_) if self.inspected.contains(id) => {}
            Err(_) => self.missed.push(name.to_owned()),
        }
    }

    /// Those that are there, since events are lost with an engine that is killed.
    fn inspect_all(&mut self, engine: &Endpoint) {
        let listed = engine.get("/containers/json?all=1").unwrap_or_default();
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap_or_default();
        for one in listed {
            let name = text(&one["Names"][0]);
            self.inspect(engine, &text(&one["Id"]), name.trim_start_matches('/'));
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Follows what the engine tells, through its restarts, until it is told to end and nothing is left to be read.
fn look(engine: &Endpoint, signs: &Signs) -> Seen {
    let mut seen = Seen::default();
    // What was told before a cut may be told again: not by its time, which is not the order in which it comes.
    let mut told = HashSet::new();
    let mut since = 0;
    let is_ending = || signs.ending.load(Ordering::Acquire);
    loop {
        seen.inspect_all(engine);
        let filters = r#"{"type":{"container":true},"event":{"create":true,"die":true}}"#.replace('"', "%22");
        let path = format!("/events?since={since}&filters={filters}");
        let read = engine.lines(&path, Duration::from_millis(200), |line| {
            let Some(line) = line else { return !is_ending() };
            let Ok(event) = serde_json::from_str::<Value>(line) else { return true };
            let at = event["timeNano"].as_u64().unwrap_or_default();
            since = since.max(at / 1_000_000_000);
            let actor = &event["Actor"];
            if told.insert((at, text(&actor["ID"]), text(&event["Action"]))) {
                let name = text(&actor["Attributes"]["name"]);
                seen.inspect(engine, &text(&actor["ID"]), &name);
                if name == CONTROL {
                    signs.control_seen.store(true, Ordering::Release);
                }
            }
            true
        });
        // A test has stopped the engine: it comes back.
        if is_ending() && (read.is_ok() || engine.get("/_ping").is_err()) {
            return seen;
        }
        stop::settle(Duration::from_millis(20));
    }
}

/// Makes a container that shows a secret, and removes it when it was seen.
fn make_control(engine: &Endpoint, signs: &Signs) -> Result<()> {
    let path = format!("/containers/{CONTROL}?force=1");
    // An earlier run may have been cut off.
    engine.send(&Request::new("DELETE", &path))?;
    let body = json!({"Image": image::NAME, "Env": [format!("SHOWN={PLANTED}control")]}).to_string();
    let create = format!("/containers/create?name={CONTROL}");
    let json = "Content-Type: application/json\r\n";
    engine.call(&Request::new("POST", &create).headers(json).text(&body))?;
    let seen = stop::wait_for("the watch's look at its control", Duration::from_secs(120), || {
        Ok(signs.control_seen.load(Ordering::Acquire).then_some(()))
    });
    engine.send(&Request::new("DELETE", &path))?;
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(open: &[&str], missed: &[&str]) -> (String, Vec<String>) {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let inspected = (0..40).map(|n| n.to_string()).collect();
        Seen { inspected, missed: own(missed), open: own(open) }.judge("docker", true)
    }

    #[test]
    fn a_watch_that_is_blind_or_finds_a_secret_is_a_problem() {
        assert!(seen(&[], &[]).1[0].contains("has not seen its own"));
        assert!(seen(&[CONTROL, "bad"], &[]).1[0].ends_with("a secret of bad"));
        let gone: Vec<_> = (0..11).map(|_| "a").collect();
        assert!(seen(&[CONTROL], &gone).1[0].contains("11 containers were gone"));
        let (words, problems) = seen(&[CONTROL], &["short"]);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(words, "docker: 40 containers inspected, none shows a secret; 1 were gone before: short");
    }
}
