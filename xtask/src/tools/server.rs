//! A server of ours on a loopback port: one process and one log, and what a test may do to it in the middle of its run.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::failure::{Context, Failure, Result};
use crate::process::{self, Record};
use crate::site::Site;
use crate::tools::http::Endpoint;
use crate::tools::port;
use crate::{run, stop};

/// What every such server can be told.
pub(crate) const VERBS: &str = "start|stop|kill|pause|resume";

/// How long it may take to end in good order.
const GRACE: Duration = Duration::from_secs(10);

/// A server by its name; what is known of it lies in the state folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'a> {
    site: &'a Site,
    name: &'a str,
}

impl<'a> Server<'a> {
    pub(crate) fn new(site: &'a Site, name: &'a str) -> Self {
        Self { site, name }
    }

    /// Its own files.
    pub(crate) fn folder(&self) -> PathBuf {
        self.site.state.join(self.name)
    }

    fn port_file(&self, name: &str) -> PathBuf {
        self.site.state.join(format!("{}.{name}", self.name))
    }

    /// A port for one of its uses. It is the same over restarts, so that clients find the server again.
    pub(crate) fn take_port(&self, name: &str) -> Result<u16> {
        let file = self.port_file(name);
        if let Some(port) = self.taken_port(name) {
            return Ok(port);
        }
        let port = port::lasting()?;
        fs::write(&file, port.to_string()).context(format_args!("writing {}", file.display()))?;
        Ok(port)
    }

    fn taken_port(&self, name: &str) -> Option<u16> {
        fs::read_to_string(self.port_file(name)).ok()?.parse().ok()
    }

    /// Where it answers, once it was started.
    pub(crate) fn url(&self) -> Option<String> {
        self.taken_port("port").map(|port| format!("http://127.0.0.1:{port}"))
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        Endpoint::parse(&self.url().ok_or_else(|| Failure(format!("{} runs not", self.name)))?)
    }

    pub(crate) fn running(&self) -> Option<Record> {
        Record::read(&self.site.state, self.name).filter(|record| record.identity.alive())
    }

    fn log(&self) -> PathBuf {
        self.site.logs().join(format!("{}.log", self.name))
    }

    /// Starts its program in the background.
    pub(crate) fn start(&self, words: &[String]) -> Result<()> {
        process::daemon(&self.site.state, self.name, &self.log(), words).map(drop)
    }

    /// Asks `probe` until it has an answer, as long as the server lives.
    pub(crate) fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let what = format!("{}: {what}", self.name);
        stop::wait_for(&what, limit, || {
            if self.running().is_none() {
                let log = run::log_tail(&self.log());
                return Err(Failure(format!("{} ended; its log ends:\n{log}", self.name)));
            }
            probe()
        })
    }

    /// Does to it what the word says, but for `start`, which is the part's own affair.
    pub(crate) fn tell(&self, verb: &str) -> Result<()> {
        let Some(Record { identity, .. }) = self.running() else {
            let is_down = matches!(verb, "stop" | "kill");
            return if is_down { Ok(()) } else { Err(Failure(format!("{} runs not", self.name))) };
        };
        match verb {
            "pause" => identity.signal(Signal::STOP),
            "resume" => identity.signal(Signal::CONT),
            "stop" => {
                // What is paused would not hear of its end.
                identity.signal(Signal::CONT);
                return if identity.end(GRACE) { Ok(()) } else { Err(self.lives()) };
            }
            "kill" => {
                identity.signal(Signal::KILL);
                return if identity.end(Duration::ZERO) { Ok(()) } else { Err(self.lives()) };
            }
            _ => return Err(Failure(format!("{}: `{verb}` is none of {VERBS}", self.name))),
        }
        Ok(())
    }

    fn lives(&self) -> Failure {
        Failure(format!("{} lives on", self.name))
    }

    pub(crate) fn stop(&self) -> Result<()> {
        self.tell("stop")
    }
}

/// What the user has already; ours, named to a test or to a shell, is not that.
pub(crate) fn given(variable: &str, ours: Option<&str>) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty() && Some(value.as_str()) != ours)
}

/// The variables that say more of what the user has: they are handed on as they are.
pub(crate) fn handed_on(variables: &[&str]) -> Vec<(String, String)> {
    variables.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_started_paused_resumed_and_ended_by_its_record() {
        let folder = env::temp_dir().join(format!("hodei-xtask-server-{}", std::process::id()));
        let site = Site { state: folder.join("state"), work: folder.clone(), ..Site::find().unwrap() };
        [site.state.clone(), site.logs()].iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        let server = Server::new(&site, "sleeper");
        assert!(server.url().is_none() && server.running().is_none());
        server.stop().unwrap();
        assert!(server.tell("pause").is_err());
        let port = server.take_port("port").unwrap();
        assert_eq!(server.take_port("port").unwrap(), port);
        assert_eq!(server.url().unwrap(), format!("http://127.0.0.1:{port}"));
        server.start(&["sleep", "100"].map(str::to_owned)).unwrap();
        let state = || {
            let pid = server.running().unwrap().identity.pid;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit(") ").next().unwrap().chars().next().unwrap()
        };
        server.tell("pause").unwrap();
        server.wait_for("a pause", Duration::from_secs(5), || Ok((state() == 'T').then_some(()))).unwrap();
        server.tell("resume").unwrap();
        server
            .wait_for("its going on", Duration::from_secs(5), || Ok((state() == 'S').then_some(())))
            .unwrap();
        assert!(server.tell("seal").is_err());
        server.tell("pause").unwrap();
        server.tell("kill").unwrap();
        assert!(server.running().is_none());
        let ended = server.wait_for("an answer", Duration::from_secs(5), || Ok(None::<()>));
        assert!(ended.unwrap_err().0.contains("ended"));
        fs::remove_dir_all(folder).unwrap();
    }
}
