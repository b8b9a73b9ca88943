use super::{CaseContext, CaseResult, Program, cases, check, check_eq};
use crate::{
    capability::Capability,
    error::ErrorKind,
    model::ContainerImage,
    provider::{CreateOptions, StopOptions},
    status::{ExitStatus, FailureClass, WorkerPhase},
};

cases! {
    l8_exit_code_0_is_a_success [KeepsEnded];
    l8_exit_code_1_is_a_failure [KeepsEnded];
    l8_exit_code_255_is_a_failure [KeepsEnded];
    l8_exit_code_137_is_no_proof_of_a_kill [KeepsEnded];
    l8_exit_code_143_is_no_proof_of_a_term [KeepsEnded];
    l8_a_kill_is_told_from_exit_code_137 [Logs, KeepsStopped];
    l8_a_command_that_does_not_exist [KeepsEnded];
    l8_an_image_that_does_not_exist [Images];
}

async fn exits_with(cx: &CaseContext, code: i32) -> CaseResult<ExitStatus> {
    let worker = cx.run("a", &Program::Exit(code)).await?;
    let status = cx.ended(&worker).await?;
    check_eq!(status.succeeded(), code == 0);
    check!(!status.out_of_memory, "taken for an out-of-memory kill: {status:?}");
    check_eq!(status.failure.is_some(), code != 0);
    status.exit.ok_or_else(|| super::CaseFailure::new(format!("no exit: {status:?}")))
}

fn above_128(cx: &CaseContext, code: i32) -> ExitStatus {
    if cx.has(Capability::ExactExit) { ExitStatus::Code(code) } else { ExitStatus::CodeOrSignal(code) }
}

async fn l8_exit_code_0_is_a_success(cx: CaseContext) -> CaseResult {
    check_eq!(exits_with(&cx, 0).await?, ExitStatus::Code(0));
    Ok(())
}

async fn l8_exit_code_1_is_a_failure(cx: CaseContext) -> CaseResult {
    check_eq!(exits_with(&cx, 1).await?, ExitStatus::Code(1));
    Ok(())
}

async fn l8_exit_code_255_is_a_failure(cx: CaseContext) -> CaseResult {
    check_eq!(exits_with(&cx, 255).await?, ExitStatus::Code(255));
    Ok(())
}

async fn l8_exit_code_137_is_no_proof_of_a_kill(cx: CaseContext) -> CaseResult {
    check_eq!(exits_with(&cx, 137).await?, above_128(&cx, 137));
    Ok(())
}

async fn l8_exit_code_143_is_no_proof_of_a_term(cx: CaseContext) -> CaseResult {
    check_eq!(exits_with(&cx, 143).await?, above_128(&cx, 143));
    Ok(())
}

async fn l8_a_kill_is_told_from_exit_code_137(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::IgnoreTerm).await?;
    cx.provider().stop_worker(&worker, &StopOptions::kill()).await?;
    let exit = cx.ended(&worker).await?.exit;
    let exact = cx.has(Capability::ExactExit);
    check_eq!(exit, Some(if exact { ExitStatus::Signal(9) } else { ExitStatus::CodeOrSignal(137) }));
    check_eq!(exit.and_then(ExitStatus::possible_signal), Some(9));
    Ok(())
}

async fn l8_a_command_that_does_not_exist(cx: CaseContext) -> CaseResult {
    let told = |error: crate::Error| {
        check_eq!(error.kind(), ErrorKind::Config);
        check!(!error.is_retryable(), "{error:?}");
        check!(error.to_string().contains("/no/such/program"), "does not name the command: {error}");
        Ok(())
    };
    let worker = match cx.create("a", &Program::Missing).await {
        Ok(worker) => worker,
        // Where a creation begins the first run, it fails with it, and nothing stays.
        Err(error) => {
            check!(!cx.has(Capability::DeferredStart), "a creation starts nothing: {error}");
            told(error)?;
            return cx.lists(&[]).await;
        }
    };
    // A provider that starts later than it answers tells it by the status alone.
    if let Err(error) = cx.start(&worker).await {
        told(error)?;
    }
    let status = cx.until(&worker, "over", |status| status.phase.is_over()).await?;
    check_eq!((status.phase, status.exit), (WorkerPhase::Exited, None));
    check_eq!(status.failure, Some(FailureClass::CommandNotFound));
    Ok(())
}

async fn l8_an_image_that_does_not_exist(cx: CaseContext) -> CaseResult {
    let config = cx.builder("a", &Program::Exit(0)).image("127.0.0.1:1/no/such/image:1").build()?;
    let image: ContainerImage = "127.0.0.1:1/no/such/image:1".parse().map_err(|error| format!("{error}"))?;
    match cx.provider().create_worker(&config, &CreateOptions::default()).await {
        Err(error) => {
            // A registry that is not there is no fault of the provider, which goes on with other workers.
            let kinds = [ErrorKind::NotFound, ErrorKind::Dependency];
            check!(kinds.contains(&error.kind()), "{error:?}");
            check!(error.to_string().contains(image.repository()), "does not name the image: {error}");
            cx.lists(&[]).await?;
        }
        Ok(handle) => {
            let _ = cx.start(&handle.worker).await;
            let classes = [Some(FailureClass::ImageNotFound), Some(FailureClass::ImagePull)];
            cx.until(&handle.worker, "failed by its image", |status| classes.contains(&status.failure))
                .await?;
        }
    }
    Ok(())
}
