//! Credentials that an engine makes for whoever asks, and their leases.

use std::time::Duration;

use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp,
    credential::{
        Credential, CredentialLease, CredentialStage, CredentialVersion, RenewOptions, RetrieveOptions,
        SecretKey, Which, not_found,
    },
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::{
    client::{Request, encode},
    cluster::Route,
    provider::Inner,
    record::Fields,
};

/// What an engine answers.
#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    lease_id: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
    data: Fields,
}

#[derive(Deserialize)]
struct Renewed {
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

impl Inner {
    /// The path of the engine that answers this key, if one does.
    pub(super) fn engine(&self, key: &SecretKey) -> Option<String> {
        let matching = self.settings.dynamic.iter().filter_map(|(prefix, path)| {
            Some((prefix.len(), path, key.as_str().strip_prefix(prefix.as_str())?))
        });
        let (_, path, role) = matching.max_by_key(|(length, ..)| *length)?;
        (!role.is_empty()).then(|| format!("{}{}", encode(path), encode(role)))
    }

    /// Has the engine make a credential.
    pub(super) async fn make(&self, path: String, options: &RetrieveOptions) -> Result<Credential> {
        match &options.which {
            Which::Stage(CredentialStage::Current) => {}
            Which::Stage(_) => return Err(not_found(&options.which)),
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the engine makes a credential for each reader",
                )
                .with_help("leave the version out: no earlier one can be read"));
            }
        }
        let request = Request::get(path);
        let asked = self.clock.now();
        // One that nobody heard of ends by itself; it is not for us to have a second one made.
        let answer = self.session.ask(&request, Route::Once).await?;
        if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) {
            let error = Error::new(ErrorKind::NotFound, "the engine has no such role");
            let error = error.with_context("path", &request.path);
            return Err(match answer.words(&request) {
                Some(words) => error.with_context("answer", words),
                None => error,
            });
        }
        let Made { lease_id, lease_duration, renewable, data } = answer.read(&request)?;
        let (version, note) = (CredentialVersion::new(&lease_id), data.note());
        let mut credential = Credential::new(data.into_content(&note)?, version);
        credential.stages = vec![CredentialStage::Current];
        if lease_id.is_empty() {
            // One that the engine keeps for all readers, and changes when its time has come.
            credential.version = CredentialVersion::new("current");
        } else {
            let ends = self.end(asked, lease_duration);
            credential.expires = Some(ends);
            credential.lease = Some(CredentialLease::new(lease_id, ends, renewable));
        }
        Ok(credential)
    }

    /// When a lease of that many seconds is over: with the log-in at the latest, if that cannot be prolonged.
    fn end(&self, from: Timestamp, seconds: u64) -> Timestamp {
        let log_in = self.session.current().filter(|token| !token.renewable).and_then(|token| token.ends());
        let log_in = log_in.map(|end| end.saturating_duration_since(Instant::now()));
        let lease = Duration::from_secs(seconds);
        let lasts = log_in.map_or(lease, |log_in| log_in.min(lease));
        from.checked_add(lasts).unwrap_or(Timestamp::MAX)
    }

    pub(super) async fn renew(
        &self,
        lease: &CredentialLease,
        options: &RenewOptions,
    ) -> Result<CredentialLease> {
        self.require_leases()?;
        let over = || Error::new(ErrorKind::NotFound, "the lease is over, or was taken back");
        #[derive(Serialize)]
        struct Body<'a> {
            lease_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            increment: Option<u64>,
        }
        // A part of a second is one more.
        let increment = options.by.map(|by| by.as_secs() + u64::from(by.subsec_nanos() > 0));
        let request = Request::post("sys/leases/renew", &Body { lease_id: &lease.id, increment })?;
        let asked = self.clock.now();
        let answer = self.session.ask(&request, Route::Repeatable).await?;
        if answer.status == StatusCode::BAD_REQUEST {
            // It is over, or cannot be prolonged: only a look tells.
            return Err(match self.is_there(lease).await? {
                Some(false) => over(),
                _ => Error::new(ErrorKind::Conflict, "the lease cannot be prolonged")
                    .with_help("read the credential anew before it is over"),
            });
        }
        let renewed: Renewed = answer.read(&request)?;
        if renewed.lease_duration == 0 {
            return Err(over());
        }
        let ends = self.end(asked, renewed.lease_duration);
        Ok(CredentialLease::new(&lease.id, ends, renewed.renewable))
    }

    /// Whether there is such a lease; `None` where the log-in may not look.
    async fn is_there(&self, lease: &CredentialLease) -> Result<Option<bool>> {
        let request = Request::post("sys/leases/lookup", &json!({ "lease_id": lease.id }))?;
        let answer = self.session.ask(&request, Route::Repeatable).await?;
        match answer.status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Ok(Some(false)),
            StatusCode::FORBIDDEN => Ok(None),
            _ => answer.done(&request).map(|()| Some(true)),
        }
    }

    pub(super) async fn revoke(&self, lease: &CredentialLease) -> Result<()> {
        self.require_leases()?;
        // Answered when it is done, not when it is noted down.
        let request = Request::post("sys/leases/revoke", &json!({ "lease_id": lease.id, "sync": true }))?;
        let answer = self.session.ask(&request, Route::Repeatable).await?;
        if answer.status == StatusCode::BAD_REQUEST && self.is_there(lease).await? == Some(false) {
            return Ok(());
        }
        answer.done(&request)
    }

    fn require_leases(&self) -> Result<()> {
        match self.settings.dynamic.is_empty() {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Unsupported, super::capabilities::NO_LEASES)),
        }
    }
}
