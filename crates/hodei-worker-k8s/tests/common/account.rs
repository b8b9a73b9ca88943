//! A host that is allowed what a Role says, and nothing else.

use std::{fs, path::PathBuf};

use hodei_worker_k8s::{KubernetesSettings, PermissionRule, Permissions};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    authorization::v1::SubjectAccessReview,
    core::v1::ServiceAccount,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    config::Kubeconfig,
};
use serde_json::{Value, json};

use super::{limit, settings, variable};

const NAMESPACE: &str = "default";

/// A service account with its Role, and a kubeconfig that is its.
pub(crate) struct Account {
    admin: Client,
    name: String,
    file: PathBuf,
}

impl Account {
    /// One with these permissions, less those if they are named.
    pub(crate) async fn new(
        admin: Client,
        name: &str,
        permissions: &Permissions,
        without: Option<&PermissionRule>,
    ) -> Self {
        let mut manifest: Value = serde_json::from_str(&permissions.manifest(NAMESPACE, name)).unwrap();
        for rule in manifest["items"][1]["rules"].as_array_mut().unwrap() {
            let verbs = rule["verbs"].clone();
            let is_meant = |without: &&PermissionRule| {
                rule["apiGroups"][0] == without.group && rule["resources"][0] == without.resource
            };
            let without =
                without.filter(is_meant).map(|without| without.verbs.as_slice()).unwrap_or_default();
            let left =
                verbs.as_array().unwrap().iter().filter(|verb| !without.iter().any(|one| *one == **verb));
            rule["verbs"] = left.cloned().collect();
        }
        // A rule without verbs is none.
        let rules = manifest["items"][1]["rules"].as_array_mut().unwrap();
        rules.retain(|rule| rule["verbs"].as_array().is_some_and(|verbs| !verbs.is_empty()));
        let parse = |n: usize| manifest["items"][n].clone();
        let parameters = PostParams::default();
        let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), NAMESPACE);
        accounts.create(&parameters, &serde_json::from_value(parse(0)).unwrap()).await.unwrap();
        let roles: Api<Role> = Api::namespaced(admin.clone(), NAMESPACE);
        roles.create(&parameters, &serde_json::from_value(parse(1)).unwrap()).await.unwrap();
        let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), NAMESPACE);
        bindings.create(&parameters, &serde_json::from_value(parse(2)).unwrap()).await.unwrap();
        until_it_holds(&admin, name).await;
        let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
        let token = accounts.create_token_request(name, &parameters, &request).await.unwrap();
        let file = std::env::temp_dir().join(format!("{name}.kubeconfig"));
        fs::write(&file, kubeconfig(&token.status.unwrap().token)).unwrap();
        Self { admin, name: name.to_owned(), file }
    }

    pub(crate) fn settings(&self) -> KubernetesSettings {
        let mut settings = settings();
        settings.kubeconfig = Some(self.file.clone());
        settings
    }

    pub(crate) async fn remove(self) {
        let now = DeleteParams::default();
        let bindings: Api<RoleBinding> = Api::namespaced(self.admin.clone(), NAMESPACE);
        bindings.delete(&self.name, &now).await.unwrap();
        let roles: Api<Role> = Api::namespaced(self.admin.clone(), NAMESPACE);
        roles.delete(&self.name, &now).await.unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin, NAMESPACE);
        accounts.delete(&self.name, &now).await.unwrap();
        fs::remove_file(self.file).unwrap();
    }
}

/// Waits until the API server goes by the Role, of which at most one verb is missing.
async fn until_it_holds(admin: &Client, name: &str) {
    let reviews: Api<SubjectAccessReview> = Api::all(admin.clone());
    let questions = ["get", "list"].map(|verb| {
        let question = json!({"spec": {
            "user": format!("system:serviceaccount:{NAMESPACE}:{name}"),
            "resourceAttributes": {"namespace": NAMESPACE, "verb": verb, "resource": "pods"},
        }});
        serde_json::from_value::<SubjectAccessReview>(question).unwrap()
    });
    limit(async {
        for question in questions.iter().cycle() {
            let answer = reviews.create(&PostParams::default(), question).await.unwrap();
            if answer.status.unwrap().allowed {
                return;
            }
        }
    })
    .await;
}

/// The administrator's, with another log-in.
fn kubeconfig(token: &str) -> String {
    let theirs = Kubeconfig::read_from(variable("HODEI_TEST_KUBECONFIG")).unwrap();
    let cluster = theirs.clusters[0].cluster.clone().unwrap();
    // JSON is YAML.
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "it", "user": {"token": token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    });
    config.to_string()
}
