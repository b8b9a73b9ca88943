//! A command inside the worker. What it writes is not kept: it may be anything.

use hodei_worker_core::{provider::ExecOptions, status::ExitStatus};
use tokio::time::{Instant, timeout_at};

use super::{Finding, Try, is_the_workers, success};

pub(super) async fn find_out(attempt: &Try, words: &[String], deadline: Instant) -> Finding {
    let began = Instant::now();
    let options = ExecOptions::new(words);
    let opening = attempt.provider.exec_in_worker(&attempt.worker, &options);
    let session = match timeout_at(deadline, opening).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) if is_the_workers(error.kind()) => {
            return Finding::failure(format!("it cannot be run: {}", error.message()));
        }
        // It could not be begun: the provider did not answer, or the worker does not run, which is told elsewhere.
        Ok(Err(error)) => return Finding::unknown(error.to_string()),
        Err(_) => return Finding::unknown("its provider did not begin the command in time"),
    };
    match timeout_at(deadline, session.exit()).await {
        Ok(Ok(exit)) if exit.is_success() => success(began),
        Ok(Ok(ExitStatus::Code(code))) => Finding::failure(format!("it exited with {code}")),
        Ok(Ok(exit)) => Finding::failure(format!("it ended with {exit}")),
        Ok(Err(error)) => Finding::unknown(error.to_string()),
        Err(_) => Finding::failure(format!("it did not end in {}", attempt.patience())),
    }
}

impl Try {
    fn patience(&self) -> hodei_worker_core::quantity::HumanDuration {
        self.timeout.into()
    }
}
