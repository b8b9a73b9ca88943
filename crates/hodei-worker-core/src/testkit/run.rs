use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Handle;

use super::{CaseContext, CaseFailure, CaseResult, Subject, cases, report};
use crate::capability::Capability;

/// More than any case takes on a slow machine: what is not over by then hangs.
const CASE_DEADLINE: Duration = Duration::from_secs(300);

pub(super) type CaseFuture = Pin<Box<dyn Future<Output = CaseResult> + Send>>;

/// One behaviour, and what a provider needs for it.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) id: &'static str,
    pub(super) needs: &'static [Capability],
    pub(super) run: fn(CaseContext) -> CaseFuture,
}

/// Runs the behaviour suite against providers, as the `main` of a test without the usual harness. Understands
/// `cargo test`'s arguments.
pub fn run<S: Subject>(subjects: impl IntoIterator<Item = S>) -> ExitCode {
    conduct(|handle| {
        let mut trials = Vec::new();
        for subject in subjects {
            let subject: Arc<dyn Subject> = Arc::new(subject);
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

/// Runs trials on a runtime, by `cargo test`'s arguments.
pub(super) fn conduct(trials: impl FnOnce(&Handle) -> Vec<Trial>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start a runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut arguments = Arguments::from_args();
    // Cases wait more than they compute.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(2 * cores);
    let conclusion = libtest_mimic::run(&arguments, trials(runtime.handle()));
    runtime.shutdown_timeout(Duration::from_secs(5));
    conclusion.exit_code()
}

/// Runs the cases of these names, eight at a time, and returns those that failed, with the reason: for tests of the
/// suite itself.
///
/// # Cancel safety
/// What a case has made may stay when it is dropped.
pub async fn failures(subject: impl Subject, names: &[&str]) -> Vec<(&'static str, String)> {
    use futures::StreamExt as _;
    let subject: Arc<dyn Subject> = Arc::new(subject);
    let chosen = cases::all().into_iter().filter(|case| names.contains(&case.id));
    let attempts = chosen.map(|case| {
        let subject = Arc::clone(&subject);
        async move {
            let mut version = String::new();
            let failure = judge(case, subject, &mut version).await.err()?;
            Some((case.id, failure.to_string()))
        }
    });
    futures::stream::iter(attempts).buffer_unordered(8).filter_map(|failed| async { failed }).collect().await
}

/// The names of all cases of the suite.
pub fn case_names() -> Vec<&'static str> {
    cases::all().into_iter().map(|case| case.id).collect()
}

async fn attempt(case: Case, subject: Arc<dyn Subject>) -> Result<Completion, Failed> {
    let begun = Instant::now();
    let part = subject.name();
    let mut version = String::new();
    let outcome = judge(case, subject, &mut version).await;
    conclude(case.id, &part, &version, begun, outcome)
}

/// Writes down what a case came to, and says so to the harness.
pub(super) fn conclude(
    id: &str,
    part: &str,
    version: &str,
    begun: Instant,
    outcome: Result<Option<String>, CaseFailure>,
) -> Result<Completion, Failed> {
    let (result, reason) = match &outcome {
        Ok(None) => ("passed", None),
        Ok(Some(reason)) => ("ignored", Some(reason.clone())),
        Err(failure) => ("failed", Some(failure.to_string())),
    };
    report::write(&report::Line {
        id,
        part,
        version,
        result,
        reason: reason.as_deref(),
        millis: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    match outcome {
        Ok(None) => Ok(Completion::Completed),
        Ok(Some(reason)) => Ok(Completion::ignored_with(reason)),
        Err(failure) => Err(Failed::from(failure.to_string())),
    }
}

/// What a case comes to that may panic, or hang.
pub(super) async fn guarded(running: impl Future<Output = CaseResult>) -> CaseResult {
    match tokio::time::timeout(CASE_DEADLINE, AssertUnwindSafe(running).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(CaseFailure::new("it panicked; see its output above")),
        Err(_) => Err(CaseFailure::new(format!("not over after {} s", CASE_DEADLINE.as_secs()))),
    }
}

/// `None` for a pass, the reason for what does not apply.
async fn judge(
    case: Case,
    subject: Arc<dyn Subject>,
    version: &mut String,
) -> Result<Option<String>, CaseFailure> {
    let context = CaseContext::new(subject).await?;
    version.clone_from(&context.capabilities().version);
    let missing = case.needs.iter().copied().find(|needed| !context.capabilities().supports(*needed));
    let Some(missing) = missing else {
        let result = guarded((case.run)(context.clone())).await;
        // Whatever came of the case, nothing of it stays.
        let clean = context.clean_up().await;
        match result {
            Err(failure) if failure.inapplicable => {
                clean?;
                return Ok(Some(failure.to_string()));
            }
            result => result?,
        }
        clean?;
        return Ok(None);
    };
    let reason = context.capabilities().reason(missing).unwrap_or_default().to_owned();
    let refused = cases::refused(&context, missing).await;
    let clean = context.clean_up().await;
    refused?;
    clean?;
    Ok(Some(format!("{missing}: {reason}")))
}
