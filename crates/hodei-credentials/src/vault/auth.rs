use std::{fmt, path::PathBuf};

use hodei_worker_core::{
    Error, ErrorKind, Result,
    credential::{self, CredentialProvider, SecretKey, SecretMaterial},
    model::SecretReference,
    settings::Problems,
};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

/// Where Kubernetes puts a pod's own token.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How to log in.
///
/// # Examples
/// ```
/// use hodei_credentials::vault::{LoginSecret, VaultAuth};
/// let auth: VaultAuth = serde_json::from_value(serde_json::json!({
///     "app_role": { "role_id": "1b7e…", "secret_id": { "file": "/run/secrets/vault-secret-id" } },
/// }))?;
/// # assert!(matches!(auth, VaultAuth::AppRole { .. }));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum VaultAuth {
    /// A token that somebody else got. Where it is a file or a secret, it is read again when the server accepts it no more.
    Token(LoginSecret),
    /// A role with an identity and a secret, for programs.
    AppRole {
        /// The role's identity.
        role_id: String,
        /// The role's secret. Default: none, for roles that need none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret_id: Option<LoginSecret>,
        /// Where the method is mounted. Default: `approle`.
        #[serde(default = "approle")]
        mount: String,
    },
    /// The token of a Kubernetes service account.
    Kubernetes {
        /// The role to log in as.
        role: String,
        /// The service account's token. Read anew at each log-in, as Kubernetes replaces it. Default: the file that each pod
        /// has.
        #[serde(default = "pod_token")]
        jwt: LoginSecret,
        /// Where the method is mounted. Default: `kubernetes`.
        #[serde(default = "kubernetes")]
        mount: String,
    },
}

fn approle() -> String {
    "approle".to_owned()
}
fn kubernetes() -> String {
    "kubernetes".to_owned()
}
fn pod_token() -> LoginSecret {
    LoginSecret::File(POD_TOKEN.into())
}

impl Default for VaultAuth {
    /// The token in the variable `VAULT_TOKEN`.
    fn default() -> Self {
        Self::Token(LoginSecret::Variable("VAULT_TOKEN".to_owned()))
    }
}

impl VaultAuth {
    /// This token.
    pub fn token(token: impl Into<LoginSecret>) -> Self {
        Self::Token(token.into())
    }
    /// This role, at the usual mount.
    pub fn app_role(role_id: impl Into<String>, secret_id: impl Into<LoginSecret>) -> Self {
        Self::AppRole { role_id: role_id.into(), secret_id: Some(secret_id.into()), mount: approle() }
    }
    /// This role, by the pod's own token, at the usual mount.
    pub fn kubernetes(role: impl Into<String>) -> Self {
        Self::Kubernetes { role: role.into(), jwt: pod_token(), mount: kubernetes() }
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        let mut inner = Problems::new();
        let name = match self {
            Self::Token(token) => {
                token.validate("", &mut inner);
                "token"
            }
            Self::AppRole { role_id, secret_id, mount } => {
                inner.require(!role_id.is_empty(), "role_id", "is empty");
                if let Some(secret) = secret_id {
                    secret.validate("secret_id", &mut inner);
                }
                super::settings::check_path("mount", mount, &mut inner);
                "app_role"
            }
            Self::Kubernetes { role, jwt, mount } => {
                inner.require(!role.is_empty(), "role", "is empty");
                jwt.validate("jwt", &mut inner);
                super::settings::check_path("mount", mount, &mut inner);
                "kubernetes"
            }
        };
        problems.nest(&format!("auth.{name}"), inner);
    }
}

/// Where the secret of a log-in comes from. It is read at each log-in and kept nowhere.
///
/// In settings: `{"file": "/path"}`, `{"secret": "prod/vault-token"}` or `{"variable": "VAULT_TOKEN"}`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoginSecret {
    /// A file. One line feed at its end is no part of the secret.
    File(PathBuf),
    /// A secret of the host's other credential provider, by its key.
    Secret(String),
    /// A variable of this process's environment, which others of this user can read in `/proc`: prefer a file.
    Variable(String),
    /// The secret itself, from the host's own code. It cannot stand in settings.
    #[serde(skip)]
    Given(SecretMaterial),
}

impl fmt::Debug for LoginSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Secret(name) => f.debug_tuple("Secret").field(name).finish(),
            Self::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
            Self::Given(_) => f.write_str("Given([REDACTED])"),
        }
    }
}

impl From<SecretMaterial> for LoginSecret {
    fn from(secret: SecretMaterial) -> Self {
        Self::Given(secret)
    }
}

impl LoginSecret {
    fn validate(&self, path: &str, problems: &mut Problems) {
        match self {
            Self::File(file) => problems.require(file.is_absolute(), path, "must be an absolute path"),
            Self::Secret(name) => {
                if let Err(why) = SecretKey::new(name) {
                    problems.add(path, why.to_string());
                }
            }
            Self::Variable(name) => problems.require(!name.is_empty(), path, "the variable's name is empty"),
            Self::Given(secret) => problems.require(!secret.expose().is_empty(), path, "is empty"),
        }
    }

    /// Whether another reading may give another secret.
    pub(super) fn may_change(&self) -> bool {
        matches!(self, Self::File(_) | Self::Secret(_))
    }

    /// Reads it.
    pub(super) async fn read(&self, credentials: &dyn CredentialProvider) -> Result<SecretMaterial> {
        let unreadable = |what: &'static str| {
            Error::new(ErrorKind::Unauthenticated, "the log-in's secret cannot be read")
                .with_context("from", what)
        };
        let read = match self {
            Self::Given(secret) => secret.clone(),
            Self::File(path) => {
                let bytes = tokio::fs::read(path).await.map_err(|error| {
                    unreadable("a file").with_context("path", path.display()).with_source(error)
                })?;
                let bytes = Zeroizing::new(bytes);
                SecretMaterial::from(bytes.strip_suffix(b"\n").unwrap_or(&bytes).to_vec())
            }
            Self::Secret(name) => {
                // Where it goes to is nobody's matter here.
                let reference = SecretReference::variable(name, "VAULT_TOKEN");
                credential::resolve(credentials, &reference).await?.material
            }
            Self::Variable(name) => {
                let value = std::env::var(name)
                    .map_err(|_| unreadable("a variable that is not set").with_context("variable", name))?;
                SecretMaterial::from(value.into_bytes())
            }
        };
        let usable = read
            .expose_str()
            .is_some_and(|text| !text.is_empty() && !text.contains(|c: char| c.is_control()));
        match usable {
            true => Ok(read),
            false => Err(Error::new(
                ErrorKind::Unauthenticated,
                "the log-in's secret is empty, or is no text of one line",
            )),
        }
    }
}
