//! OpenBao, which speaks Vault's API: a server of one node, and a cluster of three.
//!
//! Each keeps what it is told in a raft log of its state folder, as a real one does, so that it has its data again after
//! a kill, and is sealed until somebody unseals it. What development mode would have done is done here: it is initialized
//! with one key, unsealed, and has a KV engine of version 2 at `secret/`. All else is the tests' own affair.

mod api;
mod node;

use std::time::Duration;

use serde_json::json;

use self::api::{Api, PATIENCE};
use self::node::{Node, Secrets};
use crate::failure::{Failure, Result};
use crate::parts::{Needs, Part};
use crate::site::Site;
use crate::tools::control;
use crate::tools::http::Endpoint;
use crate::tools::python::Environment;
use crate::tools::server::{self, VERBS};

/// The wheel holds the server.
static PROGRAM: Environment = Environment::new("openbao");

/// A server of one node or of several.
#[derive(Debug)]
pub(crate) struct OpenBao {
    name: &'static str,
    needs: &'static [Needs],
    /// The names of its nodes' processes.
    nodes: &'static [&'static str],
    /// Where it is, its nodes with a comma between them. One that the user has already is used in the place of ours.
    address: &'static str,
    token: &'static str,
    /// The program by which a test ends, starts, seals and pauses nodes.
    control: &'static str,
}

const fn of(binary: &'static str) -> Needs {
    Needs { package: "hodei-credentials", binary: Some(binary), test: None }
}

pub(crate) const ONE: OpenBao = OpenBao {
    name: "openbao",
    needs: &[of("vault"), of("vault_conformance"), of("vault_database"), of("vault_kubernetes")],
    nodes: &["openbao"],
    address: "HODEI_TEST_VAULT_ADDR",
    token: "HODEI_TEST_VAULT_TOKEN",
    control: "HODEI_TEST_VAULT_NODE_CONTROL",
};

pub(crate) const THREE: OpenBao = OpenBao {
    name: "openbao-cluster",
    needs: &[of("vault_cluster")],
    nodes: &["openbao-1", "openbao-2", "openbao-3"],
    address: "HODEI_TEST_VAULT_CLUSTER",
    token: "HODEI_TEST_VAULT_CLUSTER_TOKEN",
    control: "HODEI_TEST_VAULT_CONTROL",
};

impl Part for OpenBao {
    fn name(&self) -> &'static str {
        self.name
    }

    fn packages(&self) -> &'static [&'static str] {
        &["hodei-credentials"]
    }

    fn needs(&self) -> &'static [Needs] {
        self.needs
    }

    fn install(&self, site: &Site) -> Result<()> {
        if self.given(site).is_some() { Ok(()) } else { PROGRAM.install(site) }
    }

    fn start(&self, site: &Site) -> Result<()> {
        if self.given(site).is_some() {
            return Ok(());
        }
        self.nodes(site).iter().try_for_each(Node::start)?;
        control::write(site, self.name, self.name, &self.verbs())
    }

    fn ready(&self, site: &Site) -> Result<String> {
        match self.given(site) {
            Some(addresses) => version_of(&addresses),
            None => self.settle(site),
        }
    }

    fn environment(&self, site: &Site) -> Result<Vec<(String, String)>> {
        if let Some(addresses) = self.given(site) {
            let mut environment = server::handed_on(&[self.token, self.control]);
            environment.push((self.address.to_owned(), addresses));
            return Ok(environment);
        }
        let addresses = self.addresses(site).ok_or_else(|| Failure(format!("{} runs not", self.name)))?;
        let Secrets { token, .. } = Secrets::read(site, self.name)?;
        let control = control::path(site, self.name).display().to_string();
        let pairs = [(self.address, addresses), (self.token, token), (self.control, control)];
        Ok(pairs.map(|(name, value)| (name.to_owned(), value)).into())
    }

    fn stop(&self, site: &Site) -> Result<()> {
        let nodes = self.nodes(site);
        // What is not looked at any more after a failure has been waited for all the same.
        std::thread::scope(|scope| {
            let ends: Vec<_> = nodes.iter().map(|node| scope.spawn(|| node.server.stop())).collect();
            ends.into_iter().try_for_each(|end| end.join().unwrap_or_else(|_| Err(Failure::new("panicked"))))
        })
    }

    fn control(&self, site: &Site, verb: &str) -> Result<()> {
        if self.given(site).is_some() {
            return Err(Failure(format!("{} is not ours", self.name)));
        }
        let nodes = self.nodes(site);
        if verb == "mend" {
            for node in &nodes {
                node.start()?;
                node.server.tell("resume")?;
            }
            return self.settle(site).map(drop);
        }
        let (verb, node) = self.meant(&nodes, verb)?;
        match verb {
            "start" | "unseal" => {
                node.start()?;
                node.unseal(&Secrets::read(site, self.name)?)?;
                // The only one is to be the active one; of several one is to be unsealed, whoever leads.
                if nodes.len() == 1 { self.settle(site).map(drop) } else { Ok(()) }
            }
            "seal" => node.seal(&Secrets::read(site, self.name)?.token),
            _ => node.server.tell(verb),
        }
    }
}

impl OpenBao {
    fn nodes<'a>(&self, site: &'a Site) -> Vec<Node<'a>> {
        self.nodes.iter().map(|name| Node::new(site, name, self.nodes[0])).collect()
    }

    fn addresses(&self, site: &Site) -> Option<String> {
        let all: Option<Vec<_>> = self.nodes(site).iter().map(|node| node.server.url()).collect();
        all.map(|all| all.join(","))
    }

    fn given(&self, site: &Site) -> Option<String> {
        server::given(self.address, self.addresses(site).as_deref())
    }

    fn verbs(&self) -> String {
        let verbs = format!("{VERBS}|seal|unseal");
        if self.nodes.len() == 1 {
            return format!("{verbs}|mend");
        }
        format!("{}|mend", verbs.split('|').map(|verb| format!("{verb}-N")).collect::<Vec<_>>().join("|"))
    }

    /// `kill` means the only node, `kill-2` the second one of several.
    fn meant<'a, 'n, 's>(&self, nodes: &'n [Node<'s>], verb: &'a str) -> Result<(&'a str, &'n Node<'s>)> {
        let found = match (verb.rsplit_once('-'), nodes) {
            (None, [only]) => Some((verb, only)),
            (Some((verb, number)), [_, _, ..]) => {
                let index = number.parse().ok().and_then(|number: usize| number.checked_sub(1));
                index.and_then(|index| nodes.get(index)).map(|node| (verb, node))
            }
            _ => None,
        };
        found.ok_or_else(|| Failure(format!("{}: `{verb}` is none of {}", self.name, self.verbs())))
    }

    /// Waits until all nodes are unsealed and, if they are several, any one of them can be lost. Gives the version.
    fn settle(&self, site: &Site) -> Result<String> {
        let nodes = self.nodes(site);
        let first = &nodes[0];
        let (secrets, is_new) = first.initialize(self.name)?;
        first.unseal(&secrets)?;
        if is_new {
            // Before others join: what they find there decides how soon they vote.
            self.set_up(&nodes[..1], &secrets)?;
        }
        nodes[1..].iter().try_for_each(|node| node.unseal(&secrets))?;
        let (active, version) = self.set_up(&nodes, &secrets)?;
        if nodes.len() > 1 {
            let spare = || active.spare_nodes(&secrets.token).filter(|spare| *spare > 0);
            first.server.wait_for("all nodes' votes", PATIENCE, || Ok(spare().map(drop)))?;
        }
        // Each answers what is read of it, and learns of a new engine later than the active one.
        for node in &nodes {
            let api = node.api()?;
            node.server
                .wait_for("its KV engine", PATIENCE, || Ok(api.has_kv(&secrets.token).then_some(())))?;
        }
        Ok(format!("OpenBao {version}"))
    }

    /// Waits until one of the nodes is active and does as it is told. One that has lost the others calls itself active, too,
    /// for a while.
    fn set_up(&self, nodes: &[Node<'_>], secrets: &Secrets) -> Result<(Api, String)> {
        let mut last = String::new();
        let found = nodes[0].server.wait_for("an active node", PATIENCE, || {
            for node in nodes {
                let api = node.api()?;
                let Some(health) = api.health().filter(|health| health.status == 200) else { continue };
                match self.tell(&api, &secrets.token) {
                    Ok(()) => return Ok(Some((api, health.version))),
                    Err(error) => last = format!("; {error}"),
                }
            }
            Ok(None)
        });
        found.map_err(|Failure(error)| Failure(error + &last))
    }

    fn tell(&self, active: &Api, token: &str) -> Result<()> {
        if self.nodes.len() > 1 {
            // A node votes once it has been well for so long; ten seconds, if nobody says otherwise.
            let soon = json!({ "server_stabilization_time": "1s" });
            active.call("POST", "sys/storage/raft/autopilot/configuration", token, &soon)?;
        }
        active.mount_kv(token)
    }
}

/// The version of a server that the user has.
fn version_of(addresses: &str) -> Result<String> {
    let first = addresses.split(',').next().unwrap_or_default();
    if first.starts_with("https://") {
        return Ok("(its version was not asked for: https)".to_owned());
    }
    let api = Api::new(Endpoint::parse(first)?);
    let version = crate::stop::wait_for(&format!("the answer of {first}"), Duration::from_secs(20), || {
        Ok(api.health().map(|health| health.version))
    })?;
    Ok(format!("Vault's API, {version}"))
}
