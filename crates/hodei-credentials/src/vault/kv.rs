//! Requests to the key-value engine, version 2.

use std::collections::BTreeMap;

use hodei_worker_core::{Result, Timestamp, credential::SecretKey};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    client::{Answer, Request, encode},
    cluster::Route,
    error::{Fault, refused},
    record::{Fields, Outgoing},
    session::Session,
};

/// The engine at its mount.
pub(super) struct Kv<'a> {
    pub(super) session: &'a Session,
    pub(super) mount: &'a str,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

/// A version of a secret.
#[derive(Deserialize)]
pub(super) struct Version {
    /// None of one that was deleted or destroyed.
    #[serde(rename = "data")]
    pub(super) fields: Option<Fields>,
    metadata: Told,
}

#[derive(Deserialize)]
struct Told {
    version: u64,
    #[serde(default)]
    deletion_time: String,
    custom_metadata: Option<BTreeMap<String, String>>,
}

impl Version {
    pub(super) fn number(&self) -> u64 {
        self.metadata.version
    }
    pub(super) fn custom(&self) -> Option<&BTreeMap<String, String>> {
        self.metadata.custom_metadata.as_ref()
    }
    /// When the engine itself will delete it.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        self.metadata.deletion_time.parse().ok()
    }
}

/// What is told of a secret.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) current_version: u64,
    /// Only where the server has check-and-set of metadata.
    pub(super) current_metadata_version: Option<u64>,
    #[serde(default)]
    pub(super) max_versions: u64,
    pub(super) custom_metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    versions: BTreeMap<u64, ToldVersion>,
}

#[derive(Deserialize)]
struct ToldVersion {
    created_time: Timestamp,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

impl Metadata {
    /// The versions that can be read, the oldest first, with their time of birth.
    pub(super) fn alive(&self, now: Timestamp) -> Vec<(u64, Timestamp)> {
        let is_alive = |version: &ToldVersion| {
            let gone = version.deletion_time.parse::<Timestamp>().is_ok_and(|at| at <= now);
            !version.destroyed && !gone
        };
        let alive = self.versions.iter().filter(|(_, version)| is_alive(version));
        alive.map(|(number, version)| (*number, version.created_time)).collect()
    }
    /// The newest version, if it can be read: the secret as the engine has it.
    pub(super) fn newest(&self, now: Timestamp) -> Option<(u64, Timestamp)> {
        self.alive(now).pop().filter(|(number, _)| *number == self.current_version)
    }
}

/// What the mount is set to.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) max_versions: u64,
    /// Whether the field is there tells whether the server has check-and-set of metadata.
    pub(super) metadata_cas_required: Option<bool>,
}

/// What came of a write by check-and-set.
pub(super) enum Written {
    Done(u64),
    /// Refused: another version than the expected one is the newest, or something is wrong with the request.
    Refused(Answer, Request),
    /// Nobody knows.
    Unknown(hodei_worker_core::Error),
}

#[derive(Serialize)]
struct Put<'a> {
    options: Options,
    data: &'a Outgoing<'a>,
}

#[derive(Serialize)]
struct Options {
    cas: u64,
}

#[derive(Deserialize)]
struct Number {
    version: u64,
}

impl Kv<'_> {
    fn path(&self, room: &str, key: &str) -> String {
        format!("{}/{room}/{}", encode(self.mount), encode(key))
    }

    /// What the mount is set to; `None` where the log-in may not see that.
    pub(super) async fn config(&self) -> Result<Option<Config>> {
        let request = Request::get(format!("{}/config", encode(self.mount)));
        let answer = self.session.ask(&request, Route::Any).await?;
        match answer.status {
            StatusCode::FORBIDDEN => Ok(None),
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => {
                let error = hodei_worker_core::Error::config(
                    "mount",
                    "no key-value engine of version 2 is mounted there",
                );
                Err(error.with_context("mount", self.mount))
            }
            _ => answer.read::<Envelope<Config>>(&request).map(|answer| Some(answer.data)),
        }
    }

    /// A version, the newest if none is named. `None`: it was never there, or was forgotten.
    pub(super) async fn read(
        &self,
        key: &SecretKey,
        number: Option<u64>,
        route: Route,
    ) -> Result<Option<(Version, bool)>> {
        let mut path = self.path("data", key.as_str());
        if let Some(number) = number {
            path.push_str(&format!("?version={number}"));
        }
        let request = Request::get(path).quiet();
        let answer = self.session.ask(&request, route).await?;
        if answer.status == StatusCode::NOT_FOUND {
            // Of a version that is gone the rest is told all the same.
            let gone = answer.value::<Envelope<Version>>(&request).ok();
            return Ok(gone.map(|gone| (gone.data, answer.is_active)));
        }
        let version = answer.read::<Envelope<Version>>(&request)?.data;
        Ok(Some((version, answer.is_active)))
    }

    /// What is told of a secret.
    pub(super) async fn metadata(&self, key: &SecretKey, route: Route) -> Result<Option<Metadata>> {
        self.metadata_of(key.as_str(), route).await
    }

    pub(super) async fn metadata_of(&self, key: &str, route: Route) -> Result<Option<Metadata>> {
        let request = Request::get(self.path("metadata", key));
        let answer = self.session.ask(&request, route).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => answer.read::<Envelope<Metadata>>(&request).map(|answer| Some(answer.data)),
        }
    }

    /// Writes a version on top of that one.
    pub(super) async fn write(&self, key: &SecretKey, data: &Outgoing<'_>, cas: u64) -> Result<Written> {
        let body = Put { options: Options { cas }, data };
        let request = Request::post(self.path("data", key.as_str()), &body)?.quiet();
        match self.session.send(&request, Route::Once).await {
            Ok(answer) if answer.status == StatusCode::BAD_REQUEST => Ok(Written::Refused(answer, request)),
            Ok(answer) if answer.status.is_server_error() => Ok(Written::Unknown(refused(&answer, &request))),
            Ok(answer) => {
                answer.read::<Envelope<Number>>(&request).map(|answer| Written::Done(answer.data.version))
            }
            Err(Fault::Unsent(error)) => Err(error),
            Err(Fault::Unknown(error)) => Ok(Written::Unknown(error)),
        }
    }

    /// Writes the custom metadata on top of that version of it.
    pub(super) async fn write_custom(
        &self,
        key: &SecretKey,
        custom: &BTreeMap<String, String>,
        cas: u64,
    ) -> Result<Written> {
        let body = json!({ "custom_metadata": custom, "metadata_cas": cas });
        let request = Request::post(self.path("metadata", key.as_str()), &body)?;
        match self.session.send(&request, Route::Once).await {
            Ok(answer) if answer.status == StatusCode::BAD_REQUEST => Ok(Written::Refused(answer, request)),
            Ok(answer) if answer.status.is_server_error() => Ok(Written::Unknown(refused(&answer, &request))),
            Ok(answer) => answer.done(&request).map(|()| Written::Done(cas + 1)),
            Err(Fault::Unsent(error)) => Err(error),
            Err(Fault::Unknown(error)) => Ok(Written::Unknown(error)),
        }
    }

    /// Deletes a secret with all that is told of it.
    pub(super) async fn delete(&self, key: &SecretKey) -> Result<()> {
        let request = Request::delete(self.path("metadata", key.as_str()));
        let answer = self.session.ask(&request, Route::Repeatable).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(()) } else { answer.done(&request) }
    }

    /// Overwrites one version for ever.
    pub(super) async fn destroy(&self, key: &SecretKey, number: u64) -> Result<()> {
        let request = Request::post(self.path("destroy", key.as_str()), &json!({ "versions": [number] }))?;
        self.session.ask(&request, Route::Repeatable).await?.done(&request)
    }
}

/// Listings.
impl Kv<'_> {
    /// Everything below a folder (`""`, or ending with `/`) with what is told of it, in one answer. `None` where the
    /// server or the log-in does not allow that.
    pub(super) async fn scan(&self, folder: &str) -> Result<Option<BTreeMap<String, Metadata>>> {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(default)]
            key_info: BTreeMap<String, Metadata>,
        }
        let request = Request::get(format!("{}?scan=true", self.path("detailed-metadata", folder)));
        let answer = self.session.ask(&request, Route::Any).await?;
        match answer.status {
            StatusCode::BAD_REQUEST
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            _ => answer.read::<Envelope<Listed>>(&request).map(|answer| Some(answer.data.key_info)),
        }
    }

    /// The names in one folder; those of folders end with `/`.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Listed {
            keys: Vec<String>,
        }
        let request = Request::get(format!("{}?list=true", self.path("metadata", folder)));
        let answer = self.session.ask(&request, Route::Any).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(Vec::new()),
            _ => answer.read::<Envelope<Listed>>(&request).map(|answer| answer.data.keys),
        }
    }
}
