//! What is asked of a node over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::{Context, Failure, Result};
use crate::tools::http::{Endpoint, Request};

/// For whatever takes an election.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// A paused node takes connections, and says nothing.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Api(Endpoint);

/// What a node says of itself, to anybody.
#[derive(Debug)]
pub(super) struct Health {
    /// 200 active, 429 standby, 501 not initialized, 503 sealed.
    pub(super) status: u16,
    pub(super) version: String,
}

impl Api {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }

    pub(super) fn health(&self) -> Option<Health> {
        let answer = self.0.get_within("/v1/sys/health", LIMIT).ok()?;
        let body: Value = serde_json::from_str(&answer.body).ok()?;
        Some(Health { status: answer.status, version: body["version"].as_str()?.to_owned() })
    }

    /// The answer's body, which is nothing for some. Without a token what anybody may ask for.
    pub(super) fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> Result<Value> {
        let headers = if token.is_empty() { String::new() } else { format!("X-Vault-Token: {token}\r\n") };
        let (path, text) = (format!("/v1/{path}"), body.to_string());
        let mut request = Request::new(method, &path).headers(&headers);
        if !body.is_null() {
            request = request.text(&text);
        }
        let answer =
            self.0.send_within(&request, Duration::from_secs(30)).context(format_args!("{method} {path}"))?;
        match answer.status {
            204 => Ok(Value::Null),
            200..300 => serde_json::from_str(&answer.body).context(format_args!("the answer of {path}")),
            status => Err(Failure(format!("{method} {path}: {status} {}", answer.body.trim()))),
        }
    }

    pub(super) fn is_sealed(&self) -> Option<bool> {
        self.call("GET", "sys/seal-status", "", &Value::Null).ok()?["sealed"].as_bool()
    }

    /// How many nodes can be lost while there are still enough that vote.
    pub(super) fn spare_nodes(&self, token: &str) -> Option<u64> {
        let state = self.call("GET", "sys/storage/raft/autopilot/state", token, &Value::Null).ok()?;
        let is_well = state["data"]["healthy"].as_bool()?;
        is_well.then(|| state["data"]["failure_tolerance"].as_u64())?
    }

    /// What development mode has at `secret/`.
    pub(super) fn mount_kv(&self, token: &str) -> Result<()> {
        let mounts = self.call("GET", "sys/mounts", token, &Value::Null)?;
        if mounts["data"]["secret/"].is_object() {
            return Ok(());
        }
        let engine = json!({ "type": "kv", "options": { "version": "2" } });
        self.call("POST", "sys/mounts/secret", token, &engine).map(drop)
    }

    /// A new one is not there yet while it sets itself up for versions.
    pub(super) fn has_kv(&self, token: &str) -> bool {
        self.call("GET", "secret/config", token, &Value::Null).is_ok()
    }
}
