//! An image registry on loopback, with its storage in the state folder.

use std::fs;
use std::time::Duration;

use crate::failure::{Context, Failure, Result};
use crate::process::{self, Record};
use crate::site::Site;
use crate::tools::apt::which;
use crate::tools::http::Endpoint;
use crate::tools::port;
use crate::{run, stop};

/// Starts the registry called `name`, waits until it answers, and gives its `host:port`.
pub(crate) fn start(site: &Site, name: &str) -> Result<String> {
    if let Some(address) = address(site, name).filter(|_| running(site, name)) {
        return Ok(address);
    }
    let program = which("docker-registry").ok_or_else(|| Failure::new("no docker-registry"))?;
    let address = format!("127.0.0.1:{}", port::free()?);
    let storage = site.state.join(name);
    let config = site.state.join(format!("{name}.yml"));
    let text = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: '{address}'}}\n",
        storage.display()
    );
    fs::write(&config, text).context(format_args!("writing {}", config.display()))?;
    let log = site.logs().join(format!("{name}.log"));
    let command = [program.display().to_string(), "serve".into(), config.display().to_string()];
    let record = process::daemon(&site.state, name, &log, &command)?;
    let endpoint = Endpoint::Tcp(address.clone());
    stop::wait_for("the registry's answer", Duration::from_secs(20), || {
        if !record.identity.alive() {
            return Err(Failure(format!("the registry ended; its log ends:\n{}", run::log_tail(&log))));
        }
        Ok(endpoint.get("/v2/").ok())
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
