use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use super::{Error, ErrorKind, Retry};
use crate::{model::WorkerRef, provider::Operation, provider::ProviderInfo};

/// An [`Error`] as plain data, for events, stores and APIs. Holds the causes as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorReport {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Whether the call may be repeated.
    #[serde(deserialize_with = "known")]
    pub retry: Retry,
    /// Why it failed, in words.
    pub message: String,
    /// What the reader can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What was being done.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub operation: Option<Operation>,
    /// The provider that was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderInfo>,
    /// The worker that it was done on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerRef>,
    /// Details, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<(String, String)>,
    /// The causes, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

/// Reads what a newer version may have more words for: those count as none.
fn known<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(reader: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(reader)?).unwrap_or_default())
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Self {
            kind: error.kind(),
            retry: error.retry(),
            message: error.message().to_owned(),
            help: error.help().map(str::to_owned),
            operation: error.operation(),
            provider: error.provider().cloned(),
            worker: error.worker().cloned(),
            context: error.context().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            causes,
        }
    }
}

impl From<ErrorReport> for Error {
    /// The error again, without its causes as types: they are its detail `causes`.
    fn from(report: ErrorReport) -> Self {
        let mut error = Self::new(report.kind, report.message).with_retry(report.retry);
        if let Some(help) = report.help {
            error = error.with_help(help);
        }
        if let Some(operation) = report.operation {
            error = error.with_operation(operation);
        }
        if let Some(provider) = &report.provider {
            error = error.with_provider(provider);
        }
        if let Some(worker) = &report.worker {
            error = error.with_worker(worker);
        }
        for (key, value) in report.context {
            error = error.with_context(key, value);
        }
        if !report.causes.is_empty() {
            error = error.with_context("causes", report.causes.join(": "));
        }
        error
    }
}
