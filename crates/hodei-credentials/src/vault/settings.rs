use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use hodei_worker_core::{Result, quantity::HumanDuration, settings::Problems};
use serde::{Deserialize, Serialize};

use super::{VaultAuth, address::Address};

/// Nothing is waited for longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// Where the servers are and how they are used.
///
/// # Examples
/// ```
/// use hodei_credentials::vault::VaultSettings;
/// use hodei_worker_core::settings::read;
/// let parsed = read::<VaultSettings>(&serde_json::json!({
///     "addresses": ["https://vault-1:8200", "https://vault-2:8200", "https://vault-3:8200"],
///     "auth": { "kubernetes": { "role": "workers" } },
///     "mount": "secret",
///     "dynamic": { "db/": "database/creds/" },
/// }));
/// assert!(parsed.problems.is_empty());
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct VaultSettings {
    /// The nodes of one cluster, `https://host:port`. Default: `https://127.0.0.1:8200`.
    pub addresses: Vec<String>,
    /// How to log in. Default: the token in the variable `VAULT_TOKEN`.
    pub auth: VaultAuth,
    /// The namespace. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Where the key-value engine, version 2, is mounted. Default: `secret`.
    pub mount: String,
    /// Keys that other engines answer, which make a credential for each reader: what the keys begin with, and the path that
    /// comes in its place. With `{"db/": "database/creds/"}` the key `db/app` is the role `app` of the database engine.
    /// Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dynamic: BTreeMap<String, String>,
    /// Certificates for TLS. Default: this machine's own authorities, and no certificate of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<VaultTls>,
    /// Whether `http://` may lead to other machines, where everybody on the way can read the secrets. Default: false.
    pub allow_plaintext: bool,
    /// Time for a connection to come about, TLS included. Default: 2 s.
    pub connect_timeout: HumanDuration,
    /// Time that a read waits for one of several nodes before it asks the next. Default: 2 s.
    pub attempt_timeout: HumanDuration,
    /// Time for the answer of a write, and of a read where there is one node alone. Default: 10 s.
    pub request_timeout: HumanDuration,
    /// How long a call waits for the nodes to elect an active one. Where no node is left that could be elected, it fails at
    /// once. Default: 25 s.
    pub failover_timeout: HumanDuration,
}

impl Default for VaultSettings {
    fn default() -> Self {
        Self {
            addresses: vec!["https://127.0.0.1:8200".to_owned()],
            auth: VaultAuth::default(),
            namespace: None,
            mount: "secret".to_owned(),
            dynamic: BTreeMap::new(),
            tls: None,
            allow_plaintext: false,
            connect_timeout: HumanDuration::secs(2),
            attempt_timeout: HumanDuration::secs(2),
            request_timeout: HumanDuration::secs(10),
            failover_timeout: HumanDuration::secs(25),
        }
    }
}

impl VaultSettings {
    /// The nodes at these addresses, otherwise the defaults.
    pub fn at(addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { addresses: addresses.into_iter().map(Into::into).collect(), ..Self::default() }
    }
    /// With this log-in.
    #[must_use]
    pub fn with_auth(mut self, auth: VaultAuth) -> Self {
        self.auth = auth;
        self
    }
    /// With the key-value engine at this mount.
    #[must_use]
    pub fn with_mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = mount.into();
        self
    }
    /// With keys that begin so answered by another engine, at that path.
    #[must_use]
    pub fn with_dynamic(mut self, prefix: impl Into<String>, path: impl Into<String>) -> Self {
        self.dynamic.insert(prefix.into(), path.into());
        self
    }
    /// With these certificates.
    #[must_use]
    pub fn with_tls(mut self, tls: VaultTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Tells everything that is wrong in them.
    pub fn validate(&self, problems: &mut Problems) {
        problems.require(!self.addresses.is_empty(), "addresses", "name one node at least");
        for (n, text) in self.addresses.iter().enumerate() {
            let path = format!("addresses[{n}]");
            match Address::parse(text) {
                Err(why) => problems.add(path, why),
                Ok(address) if !address.is_confidential() && !self.allow_plaintext => problems.add(
                    path,
                    "anybody on the way could read the secrets: use `https://`, or set `allow_plaintext`",
                ),
                Ok(_) => {}
            }
        }
        self.auth.validate(problems);
        check_path("mount", &self.mount, problems);
        if let Some(namespace) = &self.namespace {
            check_path("namespace", namespace, problems);
        }
        for (prefix, path) in &self.dynamic {
            let field = format!("dynamic.{prefix}");
            problems.require(prefix.ends_with('/') && prefix.len() > 1, &field, "must end with `/`");
            problems.require(path.ends_with('/'), &field, "the engine's path must end with `/`");
            check_path(&field, path.trim_end_matches('/'), problems);
        }
        if let Some(tls) = &self.tls {
            let both = tls.cert.is_some() == tls.key.is_some();
            problems.require(both, "tls", "`cert` and `key` belong together");
        }
        for (path, value) in [
            ("connect_timeout", self.connect_timeout),
            ("attempt_timeout", self.attempt_timeout),
            ("request_timeout", self.request_timeout),
        ] {
            problems.require(!value.is_zero(), path, "must be longer than 0");
            problems.require(value.get() <= LONGEST, path, "must not be longer than an hour");
        }
        let longest = self.failover_timeout.get() <= LONGEST;
        problems.require(longest, "failover_timeout", "must not be longer than an hour");
    }

    pub(super) fn checked(&self) -> Result<()> {
        let mut problems = Problems::new();
        self.validate(&mut problems);
        problems.into_result()
    }
}

/// A path of the API: names with `/` between them.
pub(super) fn check_path(field: &str, path: &str, problems: &mut Problems) {
    let good = !path.is_empty()
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%".contains(&byte));
    problems.require(good, field, "must be a path without `/` at its begin and end, such as `secret`");
}

/// Files in PEM form for TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct VaultTls {
    /// The certificates of those who may vouch for the servers; no others are trusted then. Default: this machine's own
    /// authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Our certificate, with its chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The private key of our certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl VaultTls {
    /// Trusts what this file holds, and nobody else.
    pub fn trusting(ca: impl Into<PathBuf>) -> Self {
        Self { ca: Some(ca.into()), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(settings: &VaultSettings) -> String {
        let mut problems = Problems::new();
        settings.validate(&mut problems);
        problems.to_string()
    }

    #[test]
    fn c2_everything_wrong_is_told_at_once() {
        let mut settings = VaultSettings::at(["vault:8200", "http://vault"]).with_mount("/secret");
        settings = settings.with_dynamic("db", "database/creds");
        settings.connect_timeout = HumanDuration::secs(0);
        settings.auth = VaultAuth::app_role("", super::super::LoginSecret::File("here".into()));
        let text = problems(&settings);
        for part in [
            "addresses[0]",
            "allow_plaintext",
            "mount:",
            "dynamic.db",
            "connect_timeout",
            "auth.app_role.role_id",
            "auth.app_role.secret_id",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn c2_the_defaults_are_good_and_come_back() {
        assert_eq!(problems(&VaultSettings::default()), "");
        let text = serde_json::to_value(VaultSettings::default()).unwrap();
        let read: VaultSettings = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), text);
    }

    #[test]
    fn c2_a_misspelt_field_names_the_nearest() {
        let parsed = hodei_worker_core::settings::read::<VaultSettings>(&json!({"adresses": []}));
        assert!(parsed.problems.to_string().contains("`addresses`"), "{}", parsed.problems);
    }

    #[test]
    fn c2_a_secret_of_the_host_is_not_written_with_the_settings() {
        let given = VaultAuth::token(hodei_worker_core::credential::SecretMaterial::from("hunter2"));
        let settings = VaultSettings::default().with_auth(given);
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(serde_json::to_string(&settings).is_err());
    }
}
