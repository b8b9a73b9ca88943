//! The behaviour suite against a real server: the one that `HODEI_TEST_VAULT_ADDR` names. What it does is allowed by
//! the policies that the documentation names, and by no others.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod vault_api;

use std::{process::ExitCode, sync::Arc};

use async_trait::async_trait;
use hodei_worker_core::{
    Result,
    credential::CredentialProvider,
    testkit::credentials::{CredentialSubject, run},
};
use serde_json::json;
use vault_api::{Api, connect_dyn, settings};

struct Vault {
    name: &'static str,
    mount: String,
    token: String,
}

#[async_trait]
impl CredentialSubject for Vault {
    fn name(&self) -> String {
        self.name.to_owned()
    }
    async fn connect(&self) -> Result<Arc<dyn CredentialProvider>> {
        connect_dyn(settings(&self.mount, &self.token)).await
    }
}

/// What the documentation of the module says.
fn documented(mount: &str, config: &str, scan: &str) -> String {
    format!(
        r#"path "{mount}/data/*" {{ capabilities = ["create", "read", "update"] }}
        path "{mount}/metadata/*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}
        path "{mount}/destroy/*" {{ capabilities = ["update"] }}
        {config} {scan}"#
    )
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listed = std::env::args().any(|word| word == "--list");
    let (mut subjects, mut mounts) = (Vec::new(), Vec::new());
    for (name, may_configure, may_scan) in [("vault", true, true), ("vault_least", false, false)] {
        let (mut mount, mut token) = (String::new(), String::new());
        if !listed {
            (mount, token) = runtime.block_on(async {
                let admin = Api::admin();
                let mount = admin.kv(name).await;
                let config = format!(r#"path "{mount}/config" {{ capabilities = ["read"] }}"#);
                let scan = format!(r#"path "{mount}/detailed-metadata/*" {{ capabilities = ["scan"] }}"#);
                let policy = documented(
                    &mount,
                    if may_configure { &config } else { "" },
                    if may_scan { &scan } else { "" },
                );
                let policy_name = vault_api::unique("suite");
                admin.post(&format!("sys/policies/acl/{policy_name}"), json!({ "policy": policy })).await;
                let token = admin.token(json!({"policies": ["default", policy_name], "ttl": "1h"})).await;
                (mount, token)
            });
            mounts.push(mount.clone());
        }
        subjects.push(Vault { name, mount, token });
    }
    let ended = run(subjects);
    runtime.block_on(async {
        for mount in mounts {
            Api::admin().unmount(&mount).await;
        }
    });
    ended
}
