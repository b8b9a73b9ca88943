//! A server's own API, as an operator uses it.
#![allow(dead_code)] // Each test uses a part of it.

pub(crate) mod database;
pub(crate) mod proxy;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use hodei_credentials::vault::{VaultAuth, VaultCredentialProvider, VaultSettings};
use hodei_worker_core::{
    ConnectContext, Result,
    credential::{CredentialProvider, SecretKey, SecretMaterial},
};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; see `cargo xtask test`"))
}

/// One node, as whoever has this token.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) address: String,
    pub(crate) token: String,
    http: Client<HttpConnector, Full<Bytes>>,
}

impl Api {
    pub(crate) fn new(address: impl Into<String>, token: impl Into<String>) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { address: address.into(), token: token.into(), http }
    }
    /// The one node of the tests, as its administrator.
    pub(crate) fn admin() -> Self {
        Self::new(variable("HODEI_TEST_VAULT_ADDR"), variable("HODEI_TEST_VAULT_TOKEN"))
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.address))
            .header("x-vault-token", &self.token)
            .body(Full::new(body))
            .unwrap();
        let answer = self.http.request(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(Method::POST, path, Some(body)).await;
        assert!(status.is_success(), "POST {path}: {status} {answer}");
        answer
    }
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.send(Method::GET, path, None).await;
        assert!(status.is_success(), "GET {path}: {status} {answer}");
        answer
    }
    pub(crate) async fn delete(&self, path: &str) {
        let (status, answer) = self.send(Method::DELETE, path, None).await;
        assert!(status.is_success(), "DELETE {path}: {status} {answer}");
    }

    /// A key-value engine under a name that nobody else has.
    pub(crate) async fn kv(&self, name: &str) -> String {
        let mount = unique(name);
        self.post(&format!("sys/mounts/{mount}"), json!({"type": "kv", "options": {"version": "2"}})).await;
        // Its storage is brought to version 2 in the background.
        let path = format!("{mount}/config");
        hodei_worker_core::testkit::eventually(std::time::Duration::from_secs(30), || async {
            let (status, answer) = self.send(Method::GET, &path, None).await;
            if status.is_success() { Ok(()) } else { Err(format!("{status} {answer}")) }
        })
        .await
        .unwrap();
        mount
    }
    pub(crate) async fn unmount(&self, mount: &str) {
        self.delete(&format!("sys/mounts/{mount}")).await;
    }

    /// A policy that grants all that a provider needs at this mount.
    pub(crate) async fn policy(&self, mount: &str, more: &str) -> String {
        let name = unique("policy");
        let policy = format!(
            r#"path "{mount}/*" {{ capabilities = ["create", "read", "update", "delete", "list", "scan"] }}
            {more}"#
        );
        self.post(&format!("sys/policies/acl/{name}"), json!({ "policy": policy })).await;
        name
    }
    /// A token with these policies.
    pub(crate) async fn token(&self, more: Value) -> String {
        let mut body = json!({"renewable": true});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.post("auth/token/create", body).await;
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{:012x}", fastrand::u64(..) >> 16)
}

pub(crate) fn key(text: &str) -> SecretKey {
    SecretKey::new(text).unwrap()
}

pub(crate) fn context() -> ConnectContext {
    ConnectContext::new("vault".parse().unwrap(), "tests".parse().unwrap())
}

/// The one node, at this mount, by this token.
pub(crate) fn settings(mount: &str, token: &str) -> VaultSettings {
    VaultSettings::at([variable("HODEI_TEST_VAULT_ADDR")])
        .with_mount(mount)
        .with_auth(VaultAuth::token(SecretMaterial::from(token)))
}

pub(crate) async fn connect(settings: VaultSettings) -> Result<Arc<VaultCredentialProvider>> {
    VaultCredentialProvider::connect(settings, context()).await.map(Arc::new)
}

/// As whom the suite knows it.
pub(crate) async fn connect_dyn(settings: VaultSettings) -> Result<Arc<dyn CredentialProvider>> {
    connect(settings).await.map(|store| store as _)
}

/// Longer than anything that is waited for takes on a busy machine.
pub(crate) async fn limit<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("it did not come about")
}

/// A mount of the method AppRole with one role of these settings.
pub(crate) struct AppRole {
    pub(crate) mount: String,
    pub(crate) role_id: String,
    pub(crate) secret_id: String,
}

impl AppRole {
    pub(crate) async fn new(admin: &Api, role: Value) -> Self {
        let mount = unique("approle");
        admin.post(&format!("sys/auth/{mount}"), json!({"type": "approle"})).await;
        admin.post(&format!("auth/{mount}/role/app"), role).await;
        let role_id = admin.get(&format!("auth/{mount}/role/app/role-id")).await;
        let secret_id = admin.post(&format!("auth/{mount}/role/app/secret-id"), json!({})).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            mount,
            role_id: text(&role_id["data"]["role_id"]),
            secret_id: text(&secret_id["data"]["secret_id"]),
        }
    }
    pub(crate) fn auth(&self) -> VaultAuth {
        let secret_id = SecretMaterial::from(self.secret_id.as_str());
        let mut auth = VaultAuth::app_role(&self.role_id, secret_id);
        if let VaultAuth::AppRole { mount, .. } = &mut auth {
            mount.clone_from(&self.mount);
        }
        auth
    }
    /// Every token of the method is worth nothing from now on.
    pub(crate) async fn revoke_tokens(&self, admin: &Api) {
        admin.post(&format!("sys/leases/revoke-prefix/auth/{}/login", self.mount), json!({})).await;
    }
    pub(crate) async fn remove(&self, admin: &Api) {
        admin.delete(&format!("sys/auth/{}", self.mount)).await;
    }
}
