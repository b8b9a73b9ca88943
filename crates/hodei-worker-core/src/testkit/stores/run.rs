use std::{process::ExitCode, sync::Arc, time::Instant};

use libtest_mimic::{Completion, Failed, Trial};

use super::{StoreSubject, cases, context::StoreContext};
use crate::testkit::{
    CaseFailure, CaseResult,
    run::{CaseFuture, conclude, conduct, guarded},
};

/// One behaviour.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) id: &'static str,
    pub(super) run: fn(StoreContext) -> CaseFuture,
}

/// Runs the behaviour suite against stores, as the `main` of a test without the usual harness. Understands
/// `cargo test`'s arguments.
pub fn run<S: StoreSubject>(subjects: impl IntoIterator<Item = S>) -> ExitCode {
    conduct(|handle| {
        let mut trials = Vec::new();
        for subject in subjects {
            let subject: Arc<dyn StoreSubject> = Arc::new(subject);
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

async fn attempt(case: Case, subject: Arc<dyn StoreSubject>) -> Result<Completion, Failed> {
    let begun = Instant::now();
    let outcome = match judge(case, &*subject).await {
        Ok(()) => Ok(None),
        Err(failure) if failure.inapplicable => Ok(Some(failure.to_string())),
        Err(failure) => Err(failure),
    };
    conclude(case.id, &subject.name(), "", begun, outcome)
}

async fn judge(case: Case, subject: &dyn StoreSubject) -> CaseResult {
    let place = subject.place().await.map_err(CaseFailure::from)?;
    guarded((case.run)(StoreContext::new(place))).await
}
