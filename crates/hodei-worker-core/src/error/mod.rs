//! The one error of the library: what was being done, on what, why it failed, what to do.

mod kind;
mod report;

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc, time::Duration};

pub use kind::{ErrorKind, Retry};
pub use report::ErrorReport;

use crate::{model::WorkerRef, provider::Operation, provider::ProviderInfo};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a failed call returns. One pointer wide and cheap to clone.
///
/// Providers create an error with a kind and a message that says what they know (the field, the path, the
/// endpoint); the layers above add the operation, the provider and the worker. `Display` is one line for a
/// log; `{:#}` adds every detail and the chain of causes.
///
/// # Examples
/// ```
/// use hodei_worker_core::{Error, ErrorKind, Retry};
/// let error = Error::new(ErrorKind::Unavailable, "the engine does not answer")
///     .with_help("is it running? try `systemctl status docker`")
///     .with_retry(Retry::Safe { after: None });
/// assert!(error.is_retryable());
/// assert_eq!(error.to_string(), "the engine does not answer; is it running? try `systemctl status docker`");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    message: Cow<'static, str>,
    help: Option<Cow<'static, str>>,
    operation: Option<Operation>,
    provider: Option<ProviderInfo>,
    worker: Option<WorkerRef>,
    context: Vec<(Cow<'static, str>, String)>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error that must not be retried, with nothing known yet but its kind and a message.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            retry: Retry::Never,
            message: message.into(),
            help: None,
            operation: None,
            provider: None,
            worker: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// What an optional operation of the port answers where a provider does not have it.
    pub fn unsupported(operation: Operation) -> Self {
        Self::new(ErrorKind::Unsupported, "this provider cannot do that").with_operation(operation)
    }

    /// The worker named by a call does not exist.
    pub fn worker_not_found(worker: &WorkerRef) -> Self {
        Self::new(ErrorKind::NotFound, "there is no such worker").with_worker(worker)
    }

    /// A configuration error with the path of the field at fault.
    pub fn config(path: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, message).with_context("field", path.into())
    }

    /// What went wrong, as a closed set of kinds to branch on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// Whether, and when, the same call may be repeated.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }
    /// Whether repeating the call can help, the call being idempotent.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.retry, Retry::Safe { .. } | Retry::IfIdempotent)
    }
    /// The earliest time, from now, at which a repetition makes sense, if the other side named one.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.retry {
            Retry::Safe { after } => after,
            _ => None,
        }
    }
    /// Why it failed, in words.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// What the reader can do about it, where something is known.
    pub fn help(&self) -> Option<&str> {
        self.0.help.as_deref()
    }
    /// What was being done.
    pub fn operation(&self) -> Option<Operation> {
        self.0.operation
    }
    /// The provider that was called.
    pub fn provider(&self) -> Option<&ProviderInfo> {
        self.0.provider.as_ref()
    }
    /// The worker that it was done on.
    pub fn worker(&self) -> Option<&WorkerRef> {
        self.0.worker.as_ref()
    }
    /// Details such as a field, a path or an endpoint, in the order in which they were added.
    pub fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.context.iter().map(|(key, value)| (key.as_ref(), value.as_str()))
    }
    /// The detail of that name, if it was added.
    pub fn context_value(&self, key: &str) -> Option<&str> {
        self.context().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Sets whether the call may be repeated.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.edit().retry = retry;
        self
    }
    /// Says what the reader can do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.edit().help = Some(help.into());
        self
    }
    /// Says what was being done, unless that is known already.
    #[must_use]
    pub fn with_operation(mut self, operation: Operation) -> Self {
        if self.0.operation.is_none() {
            self.edit().operation = Some(operation);
        }
        self
    }
    /// Says which provider was called, unless that is known already.
    #[must_use]
    pub fn with_provider(mut self, provider: &ProviderInfo) -> Self {
        if self.0.provider.is_none() {
            self.edit().provider = Some(provider.clone());
        }
        self
    }
    /// Says on which worker, unless that is known already.
    #[must_use]
    pub fn with_worker(mut self, worker: &WorkerRef) -> Self {
        if self.0.worker.is_none() {
            self.edit().worker = Some(worker.clone());
        }
        self
    }
    /// Adds a detail. Never put a secret here: it is printed, logged and stored.
    #[must_use]
    pub fn with_context(mut self, key: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        self.edit().context.push((key.into(), value.to_string()));
        self
    }
    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.edit().source = Some(Arc::from(source.into()));
        self
    }

    /// The error as a value that can be stored and sent.
    pub fn report(&self) -> ErrorReport {
        ErrorReport::from(self)
    }

    fn edit(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.0.operation {
            write!(f, "cannot {}", operation.phrase())?;
            if let Some(worker) = &self.0.worker {
                write!(f, " `{worker}`")?;
            }
            if let Some(provider) = &self.0.provider {
                write!(f, " on {provider}")?;
            }
            f.write_str(": ")?;
        } else if let Some(worker) = &self.0.worker {
            write!(f, "worker `{worker}`: ")?;
        }
        f.write_str(&self.0.message)?;
        for (n, (key, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{key}: {value}", if n == 0 { " (" } else { ", " })?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        if let Some(help) = &self.0.help {
            write!(f, "; {help}")?;
        }
        if f.alternate() {
            let mut cause = self.source();
            while let Some(error) = cause {
                write!(f, "\n  caused by: {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({:?}): {self:#}", self.0.kind, self.0.retry)
    }
}

impl From<crate::model::IdError> for Error {
    fn from(error: crate::model::IdError) -> Self {
        Self::new(ErrorKind::Config, error.to_string())
    }
}

impl From<crate::quantity::QuantityError> for Error {
    fn from(error: crate::quantity::QuantityError) -> Self {
        Self::new(ErrorKind::Config, error.to_string())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_an_error_is_one_pointer() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn p6_the_first_context_stays() {
        let error = Error::new(ErrorKind::Timeout, "no answer")
            .with_operation(Operation::Stop)
            .with_operation(Operation::List);
        assert_eq!(error.operation(), Some(Operation::Stop));
    }

    #[test]
    fn p6_display_names_operation_worker_and_causes() {
        let worker = WorkerRef::new("a-1".parse().unwrap(), 2);
        let error = Error::new(ErrorKind::Unavailable, "the socket is gone")
            .with_operation(Operation::Start)
            .with_worker(&worker)
            .with_context("endpoint", "unix:///x")
            .with_source(std::io::Error::other("refused"));
        assert_eq!(
            error.to_string(),
            "cannot start worker `a-1#2`: the socket is gone (endpoint: unix:///x)"
        );
        assert!(format!("{error:#}").ends_with("caused by: refused"));
    }
}
