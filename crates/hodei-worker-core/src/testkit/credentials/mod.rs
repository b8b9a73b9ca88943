//! The behaviour suite of stores of credentials.
//!
//! A store's whole conformance test is a few lines, with `harness = false` in its `Cargo.toml`:
//!
//! ```no_run
//! use hodei_worker_core::testkit::credentials::{MemorySubject, run};
//! fn main() -> std::process::ExitCode {
//!     run([MemorySubject])
//! }
//! ```
//!
//! Bring your own [`CredentialSubject`]. A case that needs what the store lacks is reported as ignored, with the reason,
//! after its negative has been tried: the operation answers `Unsupported` and changes nothing.

mod cases;
mod context;
mod subject;

use std::{process::ExitCode, sync::Arc, time::Instant};

use libtest_mimic::{Completion, Failed, Trial};

use super::{
    CaseFailure,
    run::{CaseFuture, conclude, conduct, guarded},
};
use crate::credential::CredentialCapability;
use context::CredentialContext;
pub use subject::{CredentialSubject, MemorySubject};

/// One behaviour, and what a store needs for it.
#[derive(Clone, Copy)]
struct Case {
    id: &'static str,
    needs: &'static [CredentialCapability],
    run: fn(Arc<CredentialContext>) -> CaseFuture,
}

/// Runs the behaviour suite against stores, as the `main` of a test without the usual harness. Understands
/// `cargo test`'s arguments.
pub fn run<S: CredentialSubject>(subjects: impl IntoIterator<Item = S>) -> ExitCode {
    conduct(|handle| {
        let mut trials = Vec::new();
        for subject in subjects {
            let subject: Arc<dyn CredentialSubject> = Arc::new(subject);
            for case in cases::all() {
                let subject = Arc::clone(&subject);
                let handle = handle.clone();
                let name = format!("{}::{}", subject.name(), case.id);
                trials.push(Trial::ignorable_test(name, move || handle.block_on(attempt(case, subject))));
            }
        }
        trials
    })
}

async fn attempt(case: Case, subject: Arc<dyn CredentialSubject>) -> Result<Completion, Failed> {
    let begun = Instant::now();
    let mut version = String::new();
    let outcome = judge(case, &*subject, &mut version).await;
    conclude(case.id, &subject.name(), &version, begun, outcome)
}

/// `None` for a pass, the reason for what does not apply.
async fn judge(
    case: Case,
    subject: &dyn CredentialSubject,
    version: &mut String,
) -> Result<Option<String>, CaseFailure> {
    let context = Arc::new(CredentialContext::new(subject).await?);
    version.clone_from(&context.capabilities.version);
    let missing = case.needs.iter().copied().find(|needed| !context.capabilities.supports(*needed));
    let outcome = match missing {
        None => guarded((case.run)(Arc::clone(&context))).await,
        Some(missing) => cases::refused(&context, missing).await,
    };
    // Whatever came of the case, nothing of it stays.
    let clean = context.clean_up().await;
    match (outcome, missing) {
        (Err(failure), _) if failure.inapplicable => {
            clean?;
            Ok(Some(failure.to_string()))
        }
        (Err(failure), _) => Err(failure),
        (Ok(()), missing) => {
            clean?;
            Ok(missing.map(|missing| format!("{missing}: {}", context.capabilities.reason(missing))))
        }
    }
}
