//! The API server, asked by `curl` as an administrator.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::cluster::Cluster;
use crate::failure::{Context, Result};
use crate::{run, stop};

#[derive(Debug)]
pub(super) struct Api {
    server: String,
    certificates: String,
}

impl Cluster<'_> {
    pub(super) fn api(&self) -> Api {
        Api { server: self.server(), certificates: self.path("certificates") }
    }

    /// The API server's address, the same inside and outside.
    pub(super) fn server(&self) -> String {
        format!("https://{}:6443", self.network.node())
    }
}

impl Api {
    fn curl(&self, path: &str, more: &[&str]) -> Result<String> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--max-time", "30"]);
        for (option, file) in [("--cacert", "ca.pem"), ("--cert", "admin.pem"), ("--key", "admin-key.pem")] {
            command.arg(option).arg(format!("{}/{file}", self.certificates));
        }
        run::output(command.args(more).arg(format!("{}{path}", self.server)))
    }

    pub(super) fn get(&self, path: &str) -> Result<Value> {
        serde_json::from_str(&self.curl(path, &[])?).context(format_args!("the answer of {path}"))
    }

    /// Makes an object what it is to be.
    pub(super) fn apply(&self, path: &str, object: &Value) -> Result<()> {
        let path = format!("{path}?fieldManager=xtask&force=true");
        let header = "Content-Type: application/apply-patch+yaml";
        // JSON is YAML.
        let text = object.to_string();
        self.curl(&path, &["--request", "PATCH", "--header", header, "--data-binary", &text])
            .map(drop)
            .context(format_args!("applying {path}"))
    }

    /// Waits until an object is there and as it is wanted.
    pub(super) fn wait_for(&self, what: &str, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        stop::wait_for(what, Duration::from_secs(120), || {
            Ok(self.get(path).ok().filter(|object| wanted(object)).map(drop))
        })
    }
}

/// Whether an object says so of itself.
pub(super) fn has_condition(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|one| one["type"] == kind && one["status"] == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_holds_when_it_is_true() {
        let node = json!({ "status": { "conditions": [
            { "type": "MemoryPressure", "status": "False" }, { "type": "Ready", "status": "True" } ] } });
        assert!(has_condition(&node, "Ready"));
        assert!(!has_condition(&node, "MemoryPressure"));
        assert!(!has_condition(&json!({}), "Ready"));
    }
}
