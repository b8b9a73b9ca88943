//! C2: a log-in by the token of a service account, which the API server of a real cluster vouches for: the one that
//! `HODEI_TEST_KUBECONFIG` leads to.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod vault_api;

use hodei_credentials::vault::{LoginSecret, VaultAuth};
use hodei_worker_core::{
    ErrorKind,
    credential::{CredentialProvider as _, RetrieveOptions, StoreOptions},
};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
    rbac::v1::ClusterRoleBinding,
};
use kube::{
    Api as KubeApi, Client, Config,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use vault_api::{Api, connect, key, limit, settings, unique, variable};

const NAMESPACE: &str = "default";

/// Service accounts of the cluster: one by which the server asks it, others that log in.
struct Accounts {
    client: Client,
    made: Vec<String>,
    binding: String,
    host: String,
    ca: String,
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl Accounts {
    async fn new() -> Self {
        let theirs = Kubeconfig::read_from(variable("HODEI_TEST_KUBECONFIG")).unwrap();
        let config = Config::from_custom_kubeconfig(theirs, &KubeConfigOptions::default()).await.unwrap();
        let host = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        // As the cluster tells it to every pod.
        let client = Client::try_from(config).unwrap();
        let maps: KubeApi<k8s_openapi::api::core::v1::ConfigMap> =
            KubeApi::namespaced(client.clone(), NAMESPACE);
        let ca = maps.get("kube-root-ca.crt").await.unwrap().data.unwrap()["ca.crt"].clone();
        Self { client, made: Vec::new(), binding: unique("hodei-vault"), host, ca }
    }

    /// A service account and a token of it.
    async fn token(&mut self, name: &str) -> String {
        let accounts: KubeApi<ServiceAccount> = KubeApi::namespaced(self.client.clone(), NAMESPACE);
        let account = read(json!({"metadata": {"name": name}}));
        accounts.create(&PostParams::default(), &account).await.unwrap();
        self.made.push(name.to_owned());
        let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
        accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .unwrap()
            .status
            .unwrap()
            .token
    }

    /// Lets a service account ask whether others' tokens are good.
    async fn let_review(&self, name: &str) {
        let bindings: KubeApi<ClusterRoleBinding> = KubeApi::all(self.client.clone());
        let binding = read(json!({
            "metadata": {"name": self.binding},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
        }));
        bindings.create(&PostParams::default(), &binding).await.unwrap();
    }

    async fn remove(self) {
        let accounts: KubeApi<ServiceAccount> = KubeApi::namespaced(self.client.clone(), NAMESPACE);
        for name in &self.made {
            accounts.delete(name, &DeleteParams::default()).await.unwrap();
        }
        let bindings: KubeApi<ClusterRoleBinding> = KubeApi::all(self.client.clone());
        bindings.delete(&self.binding, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test]
async fn c2_a_service_account_logs_in_and_another_one_does_not() {
    let admin = Api::admin();
    let mount = admin.kv("kubernetes").await;
    let policy = admin.policy(&mount, "").await;
    let mut accounts = limit(Accounts::new()).await;
    let (reviewer, worker, other) = (unique("reviewer"), unique("worker"), unique("other"));
    let reviewers = accounts.token(&reviewer).await;
    accounts.let_review(&reviewer).await;
    let method = unique("kubernetes");
    admin.post(&format!("sys/auth/{method}"), json!({"type": "kubernetes"})).await;
    let config = json!({
        "kubernetes_host": accounts.host, "kubernetes_ca_cert": accounts.ca, "token_reviewer_jwt": reviewers,
    });
    admin.post(&format!("auth/{method}/config"), config).await;
    let role = json!({
        "bound_service_account_names": [worker], "bound_service_account_namespaces": [NAMESPACE],
        "token_policies": ["default", policy], "token_ttl": "1h",
    });
    admin.post(&format!("auth/{method}/role/workers"), role).await;

    let folder = tempfile::tempdir().unwrap();
    let auth = |name: &str, token: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, token).unwrap();
        let mut auth = VaultAuth::kubernetes("workers");
        if let VaultAuth::Kubernetes { jwt, mount, .. } = &mut auth {
            *jwt = LoginSecret::File(file);
            mount.clone_from(&method);
        }
        auth
    };
    let theirs = accounts.token(&other).await;
    let refused = limit(connect(settings(&mount, "").with_auth(auth("other", &theirs)))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{refused}");
    assert!(!format!("{refused:?}").contains(&theirs));

    let token = accounts.token(&worker).await;
    let store = limit(connect(settings(&mount, "").with_auth(auth("worker", &token)))).await.unwrap();
    let a = key("a");
    store.store_credential(&a, "hunter2".into(), &StoreOptions::default()).await.unwrap();
    // A token that is revoked is replaced by another log-in, by the file as it is then.
    auth("worker", &accounts.token(&unique("unknown")).await);
    admin.post(&format!("sys/leases/revoke-prefix/auth/{method}/login"), json!({})).await;
    let read = store.retrieve_credential(&a, &RetrieveOptions::default()).await.unwrap_err();
    assert_eq!(read.kind(), ErrorKind::Unauthenticated, "{read}");
    auth("worker", &token);
    // A log-in that was refused is not tried again at once.
    let current = RetrieveOptions::default();
    hodei_worker_core::testkit::eventually(std::time::Duration::from_secs(30), || {
        store.retrieve_credential(&a, &current)
    })
    .await
    .unwrap();
    assert_eq!(store.login().unwrap().number, 2);
    accounts.remove().await;
    admin.delete(&format!("sys/auth/{method}")).await;
    admin.unmount(&mount).await;
}
