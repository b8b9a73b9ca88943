//! One try of each kind of check that this host makes itself.

mod command;
#[cfg(feature = "http-probes")]
mod http;
mod tcp;
#[cfg(feature = "https-probes")]
mod tls;
mod way;

use std::{sync::Arc, time::Duration};

use hodei_worker_core::{
    ErrorKind, Result, WorkerProvider, WorkerRef, WorkerStatus,
    model::{GroupRef, HttpProbe, Probe, Scheme},
};
use tokio::time::Instant;

use super::{HealthSettings, Tried, finding::Finding};

/// What tries share.
#[derive(Debug, Clone)]
pub(super) struct Prober {
    #[cfg(feature = "https-probes")]
    tls: tls::Tls,
}

/// What one try is about.
#[derive(Debug)]
pub(super) struct Try {
    pub(super) probe: Probe,
    pub(super) timeout: Duration,
    pub(super) worker: WorkerRef,
    pub(super) worker_type: Option<GroupRef>,
    pub(super) provider: Arc<dyn WorkerProvider>,
    pub(super) status: Arc<WorkerStatus>,
}

/// Whether this build can make such a request, or why not.
pub(super) fn offers_http(probe: &HttpProbe) -> std::result::Result<(), &'static str> {
    match probe.scheme {
        _ if !cfg!(feature = "http-probes") => {
            Err("this build has no HTTP: its feature `http-probes` is off")
        }
        Scheme::Https if !cfg!(feature = "https-probes") => {
            Err("this build has no HTTPS: its feature `https-probes` is off")
        }
        Scheme::Http | Scheme::Https => Ok(()),
        _ => Err("this version does not know its scheme"),
    }
}

impl Prober {
    pub(super) fn new(settings: &HealthSettings) -> Result<Self> {
        let _ = settings;
        Ok(Self {
            #[cfg(feature = "https-probes")]
            tls: tls::Tls::new(settings.tls_roots.as_deref())?,
        })
    }

    /// Finds out whether the worker is well, in the check's time.
    pub(super) async fn find_out(&self, attempt: &Try) -> Finding {
        let deadline = Instant::now() + attempt.timeout;
        match &attempt.probe {
            Probe::Command(words) => command::find_out(attempt, words, deadline).await,
            Probe::Tcp { port } => tcp::find_out(attempt, *port, deadline).await,
            #[cfg(feature = "http-probes")]
            Probe::Http(http) => self.get(attempt, http, deadline).await,
            other => Finding::unknown(format!("this build cannot make a {} check", other.kind())),
        }
    }
}

impl Try {
    /// What it came to, for who hears of tries.
    pub(super) fn tried(&self, finding: &Finding, took: Duration) -> Tried {
        Tried {
            worker: self.worker.clone(),
            provider: self.provider.info().name.clone(),
            worker_type: self.worker_type.clone(),
            probe: self.probe.kind().as_str(),
            is_well: match finding {
                Finding::Success { .. } => Some(true),
                Finding::Failure { .. } => Some(false),
                Finding::Unknown { .. } => None,
            },
            took,
            network: matches!(self.probe, Probe::Http(_) | Probe::Tcp { .. }),
        }
    }
}

/// Whether an error of a provider's call is about the worker: what it should run does not exist there.
fn is_the_workers(kind: ErrorKind) -> bool {
    kind == ErrorKind::Config
}

/// How long something took that began then and that worked.
fn success(began: Instant) -> Finding {
    Finding::Success { took: began.elapsed() }
}
