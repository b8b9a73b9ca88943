use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::SecretMaterial;
use crate::settings::Problems;

macro_rules! kinds {
    ($($(#[$meta:meta])+ $variant:ident = $name:literal, $main:literal, [$($more:literal),*];)+) => {
        /// What a credential is, which says what parts it has.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum CredentialKind {
            $($(#[$meta])+ $variant,)+
        }

        impl CredentialKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Its name in settings and listings.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
            /// The part that is the secret itself: what a worker gets that names no part.
            pub const fn main_part(self) -> &'static str {
                match self { $(Self::$variant => $main,)+ }
            }
            /// The other parts that it has to have.
            pub const fn needed_parts(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($more),*],)+ }
            }
        }
    };
}

kinds! {
    /// Bytes of which nothing is known: the part `value`.
    #[default]
    Opaque = "opaque", "value", [];
    /// A log-in: `username` and `password`.
    Password = "password", "password", ["username"];
    /// A key in two halves: `public_key` and `private_key`.
    KeyPair = "key_pair", "private_key", ["public_key"];
    /// A bearer token: `token`.
    Token = "token", "token", [];
    /// A certificate with its key, as PEM: `certificate`, with those that vouch for it behind it, and `private_key`.
    Certificate = "certificate", "private_key", ["certificate"];
    /// A client of an identity provider: `client_id` and `client_secret`.
    ServiceAccount = "service_account", "client_secret", ["client_id"];
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a credential says: a kind and its parts, each a secret. Never printed; overwritten when dropped.
///
/// # Examples
/// ```
/// use hodei_worker_core::credential::{CredentialContent, CredentialKind};
/// let login = CredentialContent::password("app", "hunter2");
/// assert_eq!(login.kind(), CredentialKind::Password);
/// assert_eq!(login.text("username"), Some("app"));
/// assert_eq!(login.secret().expose(), b"hunter2");
/// assert!(!format!("{login:?}").contains("hunter2"));
/// ```
#[derive(Clone)]
pub struct CredentialContent {
    kind: CredentialKind,
    secret: SecretMaterial,
    parts: BTreeMap<String, SecretMaterial>,
}

impl CredentialContent {
    /// Bytes of which nothing is known.
    pub fn opaque(value: impl Into<SecretMaterial>) -> Self {
        Self::of(CredentialKind::Opaque, value)
    }
    /// A log-in.
    pub fn password(username: impl Into<SecretMaterial>, password: impl Into<SecretMaterial>) -> Self {
        Self::of(CredentialKind::Password, password).with("username", username)
    }
    /// A key in two halves.
    pub fn key_pair(public: impl Into<SecretMaterial>, private: impl Into<SecretMaterial>) -> Self {
        Self::of(CredentialKind::KeyPair, private).with("public_key", public)
    }
    /// A bearer token.
    pub fn token(token: impl Into<SecretMaterial>) -> Self {
        Self::of(CredentialKind::Token, token)
    }
    /// A certificate, with those that vouch for it behind it, and its key, as PEM.
    pub fn certificate(chain: impl Into<SecretMaterial>, private: impl Into<SecretMaterial>) -> Self {
        Self::of(CredentialKind::Certificate, private).with("certificate", chain)
    }
    /// A client of an identity provider.
    pub fn service_account(id: impl Into<SecretMaterial>, secret: impl Into<SecretMaterial>) -> Self {
        Self::of(CredentialKind::ServiceAccount, secret).with("client_id", id)
    }
    /// That kind, with its secret; the other parts are still to come.
    pub fn of(kind: CredentialKind, secret: impl Into<SecretMaterial>) -> Self {
        Self { kind, secret: secret.into(), parts: BTreeMap::new() }
    }
    /// With that part, in the place of one of that name. The kind's main part is the secret itself.
    #[must_use]
    pub fn with(mut self, part: impl Into<String>, material: impl Into<SecretMaterial>) -> Self {
        let part = part.into();
        if part == self.kind.main_part() {
            self.secret = material.into();
        } else {
            self.parts.insert(part, material.into());
        }
        self
    }
    /// A credential of these parts, as a store keeps them. `None` without the kind's main part.
    pub fn from_parts(kind: CredentialKind, mut parts: BTreeMap<String, SecretMaterial>) -> Option<Self> {
        let secret = parts.remove(kind.main_part())?;
        Some(Self { kind, secret, parts })
    }

    /// Its kind.
    pub fn kind(&self) -> CredentialKind {
        self.kind
    }
    /// The secret itself: the kind's main part.
    pub fn secret(&self) -> &SecretMaterial {
        &self.secret
    }
    /// That part.
    pub fn part(&self, name: &str) -> Option<&SecretMaterial> {
        if name == self.kind.main_part() { Some(&self.secret) } else { self.parts.get(name) }
    }
    /// That part as text, if it is there and is text.
    pub fn text(&self, part: &str) -> Option<&str> {
        self.part(part)?.expose_str()
    }
    /// Every part with its name, in the order of the names.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &SecretMaterial)> {
        let main = self.kind.main_part();
        let before = self.parts.iter().take_while(move |(name, _)| name.as_str() < main);
        let after = self.parts.iter().skip_while(move |(name, _)| name.as_str() < main);
        before
            .map(|(name, part)| (name.as_str(), part))
            .chain(std::iter::once((main, &self.secret)))
            .chain(after.map(|(name, part)| (name.as_str(), part)))
    }

    /// Tells what is missing for its kind, or is not in its form.
    pub fn validate(&self, problems: &mut Problems) {
        for needed in self.kind.needed_parts() {
            problems.require(self.part(needed).is_some(), *needed, format!("a {} has to have it", self.kind));
        }
        for (name, part) in self.parts() {
            problems.require(!part.expose().is_empty(), name, "is empty");
            let good = (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
            problems.require(
                good,
                name,
                "cannot be a part's name: 1 to 64 letters, digits, `_`, `-` and `.`",
            );
            if self.kind == CredentialKind::Opaque {
                continue;
            }
            match part.expose_str() {
                None => problems.add(name, "is not text"),
                Some(text) => self.check(name, text, problems),
            }
        }
    }

    fn check(&self, name: &str, text: &str, problems: &mut Problems) {
        match (self.kind, name) {
            (CredentialKind::Certificate, "certificate") => {
                problems.require(
                    text.contains("-----BEGIN CERTIFICATE-----"),
                    name,
                    "is no certificate as PEM",
                );
            }
            (CredentialKind::Certificate, "private_key") => {
                problems.require(text.contains("PRIVATE KEY-----"), name, "is no private key as PEM");
            }
            (CredentialKind::Password, "username")
            | (CredentialKind::Token, "token")
            | (CredentialKind::ServiceAccount, "client_id" | "client_secret") => {
                // What goes into headers and log-ins.
                let is_plain = !text.chars().any(|letter| letter.is_control());
                problems.require(is_plain, name, "has control characters, such as an end of line");
                problems.require(text.trim() == text, name, "begins or ends with a space");
            }
            _ => {}
        }
    }

    /// Whether both say the same. Takes the same time wherever they differ.
    pub fn is_same(&self, other: &Self) -> bool {
        let names = |content: &Self| content.parts.keys().cloned().collect::<Vec<_>>();
        if self.kind != other.kind || names(self) != names(other) {
            return false;
        }
        let pairs = self.parts.values().zip(other.parts.values());
        let rest = pairs.fold(true, |same, (one, other)| one.is_same(other) & same);
        self.secret.is_same(&other.secret) & rest
    }
}

impl<T: Into<SecretMaterial>> From<T> for CredentialContent {
    fn from(value: T) -> Self {
        Self::opaque(value)
    }
}

impl fmt::Debug for CredentialContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.parts.keys().collect();
        f.debug_struct("CredentialContent")
            .field("kind", &self.kind)
            .field("parts", &parts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(content: &CredentialContent) -> Vec<String> {
        let mut problems = Problems::new();
        content.validate(&mut problems);
        problems.iter().map(|problem| problem.path.clone()).collect()
    }

    #[test]
    fn c10_each_kind_has_to_have_its_parts_in_their_form() {
        assert!(wrong(&"anything\n".into()).is_empty());
        assert!(wrong(&CredentialContent::password("app", " any thing ")).is_empty());
        assert_eq!(wrong(&CredentialContent::of(CredentialKind::Password, "x")), ["username"]);
        assert_eq!(wrong(&CredentialContent::password("app\n", "x")), ["username", "username"]);
        assert_eq!(wrong(&CredentialContent::token("")), ["token"]);
        assert_eq!(wrong(&CredentialContent::certificate("no", "no")), ["certificate", "private_key"]);
        assert_eq!(wrong(&CredentialContent::token(vec![0xff])), ["token"]);
        assert_eq!(wrong(&CredentialContent::token("x").with("a b", "y")), ["a b"]);
    }

    #[test]
    fn c1_parts_come_in_order_and_go_back_into_a_credential() {
        let content = CredentialContent::password("app", "hunter2").with("host", "db").with("z", "1");
        let parts: BTreeMap<_, _> =
            content.parts().map(|(name, part)| (name.to_owned(), part.clone())).collect();
        let names: Vec<_> = content.parts().map(|(name, _)| name).collect();
        assert_eq!(names, ["host", "password", "username", "z"]);
        let back = CredentialContent::from_parts(CredentialKind::Password, parts).unwrap();
        assert!(back.is_same(&content) && !back.is_same(&content.clone().with("z", "2")));
        assert!(!back.is_same(&content.clone().with("more", "1")));
        assert!(CredentialContent::from_parts(CredentialKind::Token, BTreeMap::new()).is_none());
    }
}
