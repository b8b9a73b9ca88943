//! moto, which answers as AWS does: Secrets Manager, KMS, STS, ECS and more, all regions on one port, all in memory.

use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::parts::{Needs, Part};
use crate::site::Site;
use crate::stop;
use crate::tools::control;
use crate::tools::http::Endpoint;
use crate::tools::python::Environment;
use crate::tools::server::{self, Server, VERBS};

/// Where it is. One that the user has already is used in the place of ours.
const URL: &str = "HODEI_TEST_AWS_ENDPOINT_URL";
/// The program by which a test stops, starts and pauses it.
const CONTROL: &str = "HODEI_TEST_AWS_CONTROL";
const NAME: &str = "moto";
static PROGRAM: Environment = Environment::new(NAME);
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Moto;

impl Part for Moto {
    fn name(&self) -> &'static str {
        NAME
    }

    fn packages(&self) -> &'static [&'static str] {
        &["hodei-credentials"]
    }

    fn needs(&self) -> &'static [Needs] {
        &[Needs { package: "hodei-credentials", binary: Some("aws"), test: None }]
    }

    fn has_tests(&self) -> bool {
        false
    }

    fn install(&self, site: &Site) -> Result<()> {
        if given(site).is_some() { Ok(()) } else { PROGRAM.install(site) }
    }

    fn start(&self, site: &Site) -> Result<()> {
        let server = Server::new(site, NAME);
        if given(site).is_some() || server.running().is_some() {
            return Ok(());
        }
        let python = PROGRAM.interpreter(site)?.display().to_string();
        let port = server.take_port("port")?.to_string();
        // A word that means nothing to it: by the folder the sweep knows it for ours.
        let ours = format!("hodei={}", server.folder().display());
        let words = [&python, "-X", &ours, "-m", "moto.server", "-H", "127.0.0.1", "-p", &port];
        server.start(&words.map(str::to_owned))?;
        control::write(site, NAME, NAME, VERBS)
    }

    fn ready(&self, site: &Site) -> Result<String> {
        if let Some(url) = given(site) {
            return answers(&url).map(|()| "(given)".to_owned());
        }
        let server = Server::new(site, NAME);
        let endpoint = server.endpoint()?;
        server.wait_for("an answer", LIMIT, || Ok(is_there(&endpoint)))?;
        Ok(format!("moto {}", PROGRAM.version(site, NAME)?))
    }

    fn environment(&self, site: &Site) -> Result<Vec<(String, String)>> {
        if let Some(url) = given(site) {
            return Ok(vec![(URL.to_owned(), url)]);
        }
        let url = Server::new(site, NAME).url().ok_or_else(|| Failure::new("moto runs not"))?;
        let control = control::path(site, NAME).display().to_string();
        Ok(vec![(URL.to_owned(), url), (CONTROL.to_owned(), control)])
    }

    fn stop(&self, site: &Site) -> Result<()> {
        Server::new(site, NAME).stop()
    }

    fn control(&self, site: &Site, verb: &str) -> Result<()> {
        if given(site).is_some() {
            return Err(Failure::new("moto is not ours"));
        }
        match verb {
            "start" => self.start(site).and_then(|()| self.ready(site)).map(drop),
            _ => Server::new(site, NAME).tell(verb),
        }
    }
}

fn given(site: &Site) -> Option<String> {
    server::given(URL, Server::new(site, NAME).url().as_deref())
}

/// What it tells of itself, and AWS does not: any answer will do.
fn is_there(endpoint: &Endpoint) -> Option<()> {
    endpoint.get_within("/moto-api/", Duration::from_secs(5)).ok().map(drop)
}

fn answers(url: &str) -> Result<()> {
    if url.starts_with("https://") {
        return Ok(());
    }
    let endpoint = Endpoint::parse(url)?;
    stop::wait_for(&format!("the answer of {url}"), Duration::from_secs(20), || Ok(is_there(&endpoint)))
}
