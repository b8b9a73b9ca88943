use std::time::Duration;

use super::{CaseContext, CaseResult, Program, cases, check, check_eq};
use crate::{
    capability::Capability,
    model::WorkerRef,
    provider::StopOptions,
    status::{ExitStatus, FailureClass, WorkerPhase},
};

cases! {
    l5_stop_of_one_that_obeys_keeps_its_exit_code [Logs, KeepsStopped];
    l5_stop_of_one_that_ignores_it_kills_at_the_deadline [Logs, KeepsStopped];
    l5_stop_without_grace_kills_at_once [Logs, KeepsStopped];
    l5_stop_asks_once_however_often_it_is_called [Logs, KeepsStopped];
    l5_stop_again_can_shorten_the_grace [Logs, KeepsStopped];
    l5_stop_uses_the_workers_own_grace [Logs, KeepsStopped];
    l5_stop_of_one_that_ended_keeps_its_exit [KeepsStopped];
    l5_stop_of_one_that_never_ran_succeeds [DeferredStart];
    l5_stop_of_what_is_missing_succeeds [];
    l5_stop_by_another_host [Logs, KeepsStopped];
}

const LONG: StopOptions = StopOptions { grace: Some(Duration::from_secs(60)) };

fn is_killed(cx: &CaseContext, exit: Option<ExitStatus>) -> bool {
    let exact = cx.has(Capability::ExactExit);
    exit == Some(if exact { ExitStatus::Signal(9) } else { ExitStatus::CodeOrSignal(137) })
}

async fn l5_stop_of_one_that_obeys_keeps_its_exit_code(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::ObeyTerm(3)).await?;
    cx.provider().stop_worker(&worker, &LONG).await?;
    let status = cx.ended(&worker).await?;
    check_eq!(status.exit, Some(ExitStatus::Code(3)));
    check_eq!(status.failure, Some(FailureClass::Application));
    Ok(())
}

async fn l5_stop_of_one_that_ignores_it_kills_at_the_deadline(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::IgnoreTerm).await?;
    cx.provider().stop_worker(&worker, &StopOptions::within(Duration::from_millis(500))).await?;
    let status = cx.ended(&worker).await?;
    check!(is_killed(&cx, status.exit), "{status:?}");
    check_eq!(cx.count(&worker, "term").await?, 1);
    Ok(())
}

async fn l5_stop_without_grace_kills_at_once(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::ObeyTerm(0)).await?;
    cx.provider().stop_worker(&worker, &StopOptions::kill()).await?;
    let status = cx.ended(&worker).await?;
    check!(is_killed(&cx, status.exit), "{status:?}");
    check!(!status.succeeded() && !status.out_of_memory, "{status:?}");
    check_eq!(status.failure, Some(FailureClass::Killed));
    Ok(())
}

async fn l5_stop_asks_once_however_often_it_is_called(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::IgnoreTerm).await?;
    let grace = StopOptions::within(Duration::from_secs(1));
    futures::future::try_join_all((0..4).map(|_| cx.provider().stop_worker(&worker, &grace))).await?;
    check_eq!(cx.count(&worker, "term").await?, 1);
    Ok(())
}

async fn l5_stop_again_can_shorten_the_grace(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::IgnoreTerm).await?;
    let (provider, stopped) = (cx.shared_provider(), worker.clone());
    let patient = tokio::spawn(async move { provider.stop_worker(&stopped, &LONG).await });
    cx.says(&worker, "term").await?;
    let begun = std::time::Instant::now();
    cx.provider().stop_worker(&worker, &StopOptions::kill()).await?;
    let status = cx.ended(&worker).await?;
    check!(is_killed(&cx, status.exit), "{status:?}");
    check_eq!(cx.count(&worker, "term").await?, 1);
    match patient.await {
        Ok(result) => result?,
        Err(error) => return Err(super::CaseFailure::new(error.to_string())),
    }
    let took = begun.elapsed();
    check!(took < Duration::from_secs(20), "the grace was not shortened: {took:?}");
    Ok(())
}

async fn l5_stop_uses_the_workers_own_grace(cx: CaseContext) -> CaseResult {
    let builder = cx.builder("a", &Program::IgnoreTerm).stop_grace("200ms");
    let worker = cx.run_as(builder).await?;
    cx.says(&worker, "ready").await?;
    let begun = std::time::Instant::now();
    cx.provider().stop_worker(&worker, &StopOptions::default()).await?;
    let status = cx.ended(&worker).await?;
    check!(is_killed(&cx, status.exit), "{status:?}");
    // Long before the default of any provider, and not before its own.
    let took = begun.elapsed();
    check!((Duration::from_millis(200)..Duration::from_secs(3)).contains(&took), "killed after {took:?}");
    Ok(())
}

async fn l5_stop_of_one_that_ended_keeps_its_exit(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Exit(5)).await?;
    let before = cx.ended(&worker).await?;
    cx.provider().stop_worker(&worker, &StopOptions::default()).await?;
    cx.provider().stop_worker(&worker, &StopOptions::kill()).await?;
    let after = cx.ended(&worker).await?;
    check_eq!((after.exit, &after.run), (Some(ExitStatus::Code(5)), &before.run));
    Ok(())
}

async fn l5_stop_of_one_that_never_ran_succeeds(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::Exit(0)).await?;
    cx.provider().stop_worker(&worker, &StopOptions::default()).await?;
    let status = cx.provider().get_worker_status(&worker).await?;
    check!(!status.phase.is_alive() && status.exit.is_none(), "{status:?}");
    Ok(())
}

async fn l5_stop_of_what_is_missing_succeeds(cx: CaseContext) -> CaseResult {
    let nobody = WorkerRef::first("nobody".parse()?);
    cx.provider().stop_worker(&nobody, &StopOptions::default()).await?;
    cx.provider().stop_worker(&nobody, &StopOptions::kill()).await?;
    Ok(())
}

async fn l5_stop_by_another_host(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::ObeyTerm(0)).await?;
    cx.another_host().await?.stop_worker(&worker, &LONG).await?;
    let status = cx.ended(&worker).await?;
    check_eq!(status.exit, Some(ExitStatus::Code(0)));
    check_eq!(status.phase, WorkerPhase::Exited);
    Ok(())
}
