use std::{fmt, time::Duration};

use hodei_worker_core::credential::SecretMaterial;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use tokio::time::Instant;

/// What a log-in came to.
pub(super) struct Token {
    pub(super) secret: SecretString,
    /// Counts the log-ins of this process.
    pub(super) generation: u64,
    /// How often it was prolonged.
    pub(super) renewals: u64,
    /// When it was got.
    pub(super) since: Instant,
    /// When it was got or prolonged last, and for how long then. `None`: it has no end, or none that is known.
    pub(super) lease: Option<(Instant, Duration)>,
    /// For how long it was given at first.
    pub(super) initial: Duration,
    pub(super) renewable: bool,
    /// Its policies do not let it look at itself: whether it is still accepted cannot be asked.
    pub(super) is_blind: bool,
}

impl Token {
    /// When it is accepted no more, as far as is known.
    pub(super) fn ends(&self) -> Option<Instant> {
        let (from, lease) = self.lease?;
        from.checked_add(lease)
    }

    /// When something has to be done for it to go on: well before its end, and not at the same time on all hosts.
    pub(super) fn due(&self) -> Option<Instant> {
        let (from, lease) = self.lease?;
        from.checked_add(lease.mul_f64(0.5 + fastrand::f64() * 0.2))
    }

    /// Whether prolonging it has come to so little that it will end soon.
    pub(super) fn nears_its_last_end(&self) -> bool {
        self.lease.is_some_and(|(_, lease)| lease < self.initial / 2)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// What a log-in or a renewal answers.
#[derive(Deserialize)]
pub(super) struct Granted {
    pub(super) auth: Auth,
}

#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: SecretText,
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// What a token tells about itself.
#[derive(Deserialize)]
pub(super) struct LookedUp {
    pub(super) data: SelfTold,
}

#[derive(Deserialize)]
pub(super) struct SelfTold {
    #[serde(default)]
    pub(super) ttl: u64,
    #[serde(default)]
    pub(super) creation_ttl: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// A text that is overwritten when nobody needs it any more.
pub(super) struct SecretText(pub(super) SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// A secret that was read as text.
pub(super) fn text_of(material: &SecretMaterial) -> SecretString {
    // It was looked at when it was read.
    material.expose_str().unwrap_or_default().into()
}
