//! Image registries on loopback, with their storage in the state folder.

use std::fs;
use std::time::Duration;

use crate::failure::{Context, Failure, Result};
use crate::process::{self, Record};
use crate::site::Site;
use crate::tools::apt::which;
use crate::tools::http::{Endpoint, Request};
use crate::tools::port;
use crate::{run, stop};

/// The user whom a locked registry knows, and the password.
pub(crate) const USER: (&str, &str) = ("hodei", "planted-registry-hunter2");
/// The same as the registry reads it, hashed by bcrypt, for which few machines have a program.
pub(crate) const HTPASSWD: &str = "hodei:$2y$05$abcdefghijklmnopqrstuuLVI8yij77uEQzJ5Ukk0uvzzJnwfdrCW\n";

/// Starts the registry called `name`, waits until it answers, and gives its `host:port`. A locked one lets only
/// [`USER`] in.
pub(crate) fn start(site: &Site, name: &str, locked: bool) -> Result<String> {
    if let Some(address) = address(site, name).filter(|_| running(site, name)) {
        return Ok(address);
    }
    let program = which("docker-registry").ok_or_else(|| Failure::new("no docker-registry"))?;
    let address = format!("127.0.0.1:{}", port::free()?);
    let storage = site.state.join(name);
    let config = site.state.join(format!("{name}.yml"));
    let mut text = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: '{address}'}}\n",
        storage.display()
    );
    if locked {
        let users = site.state.join(format!("{name}.htpasswd"));
        fs::write(&users, HTPASSWD)?;
        text.push_str(&format!("auth:\n  htpasswd: {{realm: hodei, path: {}}}\n", users.display()));
    }
    fs::write(&config, text).context(format_args!("writing {}", config.display()))?;
    let log = site.logs().join(format!("{name}.log"));
    let command = [program.display().to_string(), "serve".into(), config.display().to_string()];
    let record = process::daemon(&site.state, name, &log, &command)?;
    let endpoint = Endpoint::Tcp(address.clone());
    stop::wait_for("the registry's answer", Duration::from_secs(20), || {
        if !record.identity.alive() {
            return Err(Failure(format!("the registry ended; its log ends:\n{}", run::log_tail(&log))));
        }
        let answer = endpoint.send(&Request::new("GET", "/v2/")).ok();
        Ok(answer.filter(|answer| answer.status == if locked { 401 } else { 200 }).map(drop))
    })?;
    fs::write(site.state.join(format!("{name}.address")), &address)?;
    Ok(address)
}

/// Where the registry called `name` answers.
pub(crate) fn address(site: &Site, name: &str) -> Option<String> {
    fs::read_to_string(site.state.join(format!("{name}.address"))).ok()
}

fn running(site: &Site, name: &str) -> bool {
    Record::read(&site.state, name).is_some_and(|record| record.identity.alive())
}

/// Stops the registry called `name`.
pub(crate) fn stop(site: &Site, name: &str) {
    if let Some(record) = Record::read(&site.state, name) {
        record.identity.end(Duration::from_secs(5));
    }
}
