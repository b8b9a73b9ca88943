use std::{borrow::Cow, time::Duration};

/// What one try of a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// The worker is well, and needed that long to say so.
    Success { took: Duration },
    /// It is not.
    Failure { reason: Cow<'static, str> },
    /// It could not be found out: its provider cannot be reached, or this host lacks something. Says nothing about the
    /// worker.
    Unknown { reason: Cow<'static, str> },
}

impl Finding {
    pub(super) fn failure(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Failure { reason: reason.into() }
    }
    pub(super) fn unknown(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unknown { reason: reason.into() }
    }
}
