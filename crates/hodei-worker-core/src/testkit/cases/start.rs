use super::{CaseContext, CaseResult, Program, cases, check, check_eq, fails_with};
use crate::{
    error::ErrorKind,
    model::WorkerRef,
    provider::{StartOptions, StopOptions, WorkerProviderExt as _},
    status::{WorkerPhase, WorkerStatus},
};

cases! {
    p1_start_runs_the_command [Logs, KeepsEnded];
    p1_start_twice_runs_it_once [Logs];
    p1_start_after_the_end_runs_it_no_second_time [Logs, KeepsEnded];
    p1_start_at_once_many_times_runs_it_once [Logs, KeepsEnded];
    p1_restart_after_the_last_run_runs_it_once_more [Logs, RestartInPlace, KeepsEnded];
    p1_restart_with_an_old_token_runs_nothing [Logs, RestartInPlace, KeepsEnded];
    p1_restart_while_it_runs_is_a_conflict [Logs, RestartInPlace];
    p1_restart_of_a_running_worker [Logs, RestartInPlace];
    p1_restart_leaves_nothing_of_the_last_run [RestartInPlace, KeepsStopped];
    p1_start_of_what_is_missing_is_not_found [];
    p1_start_reports_its_times [KeepsEnded];
    p7_a_hundred_workers_at_once [];
}

async fn p1_start_runs_the_command(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::print("hello\n")).await?;
    let status = cx.ended(&worker).await?;
    check!(status.succeeded() && status.run.is_some() && status.failure.is_none(), "{status:?}");
    check_eq!(cx.text(&worker).await?, "hello\n");
    Ok(())
}

async fn p1_start_twice_runs_it_once(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::ObeyTerm(0)).await?;
    let before = cx.until(&worker, "running", |status| status.phase == WorkerPhase::Running).await?;
    cx.start(&worker).await?;
    let after = cx.provider().get_worker_status(&worker).await?;
    check_eq!(after.run, before.run);
    check_eq!(cx.count(&worker, "ready").await?, 1);
    Ok(())
}

async fn p1_start_after_the_end_runs_it_no_second_time(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Exit(3)).await?;
    let before = cx.ended(&worker).await?;
    cx.start(&worker).await?;
    // What another host would do, who remembers nothing.
    cx.another_host().await?.start_worker(&worker, &StartOptions::default()).await?;
    let after = cx.ended(&worker).await?;
    check_eq!(after.run, before.run);
    check_eq!(cx.count(&worker, "run").await?, 1);
    Ok(())
}

async fn p1_start_at_once_many_times_runs_it_once(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::Exit(0)).await?;
    let options = StartOptions::default();
    futures::future::try_join_all((0..8).map(|_| cx.provider().start_worker(&worker, &options))).await?;
    cx.ended(&worker).await?;
    check_eq!(cx.count(&worker, "run").await?, 1);
    Ok(())
}

async fn p1_restart_after_the_last_run_runs_it_once_more(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Exit(0)).await?;
    let first = cx.ended(&worker).await?.run.clone();
    let options = StartOptions::after(first.clone());
    for _ in 0..3 {
        cx.provider().start_worker(&worker, &options).await?;
        cx.ended_after(&worker, first.as_ref()).await?;
    }
    cx.another_host().await?.start_worker(&worker, &options).await?;
    let second = cx.ended_after(&worker, first.as_ref()).await?;
    check!(second.succeeded(), "{second:?}");
    check_eq!(cx.count(&worker, "run").await?, 2);
    Ok(())
}

async fn p1_restart_with_an_old_token_runs_nothing(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Exit(0)).await?;
    let first = cx.ended(&worker).await?.run.clone();
    cx.provider().start_worker(&worker, &StartOptions::after(first.clone())).await?;
    let second = cx.ended_after(&worker, first.as_ref()).await?;
    cx.start(&worker).await?;
    cx.provider().start_worker(&worker, &StartOptions::after(first)).await?;
    let last = cx.ended(&worker).await?;
    check_eq!(last.run, second.run);
    check_eq!(cx.count(&worker, "run").await?, 2);
    Ok(())
}

async fn p1_restart_while_it_runs_is_a_conflict(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::ObeyTerm(0)).await?;
    let run = cx.until(&worker, "running", |status| status.phase == WorkerPhase::Running).await?.run.clone();
    let result = cx.provider().start_worker(&worker, &StartOptions::after(run.clone())).await;
    fails_with(ErrorKind::Conflict, result)?;
    let status = cx.provider().get_worker_status(&worker).await?;
    check_eq!((status.phase, &status.run), (WorkerPhase::Running, &run));
    check_eq!(cx.count(&worker, "ready").await?, 1);
    Ok(())
}

async fn p1_restart_of_a_running_worker(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::ObeyTerm(0)).await?;
    let first =
        cx.until(&worker, "running", |status| status.phase == WorkerPhase::Running).await?.run.clone();
    cx.provider().restart_worker(&worker, &StopOptions::default()).await?;
    cx.until(&worker, "running again", |status| status.phase == WorkerPhase::Running && status.run != first)
        .await?;
    super::eventually(super::PATIENCE, async || {
        check_eq!(cx.count(&worker, "ready").await?, 2);
        Ok(())
    })
    .await
}

async fn p1_restart_leaves_nothing_of_the_last_run(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::ObeyTerm(0)).await?;
    cx.until(&worker, "running", |status| status.phase == WorkerPhase::Running).await?;
    cx.provider().stop_worker(&worker, &StopOptions::kill()).await?;
    let first = cx.ended(&worker).await?;
    check!(first.exit.is_some() && first.failure.is_some(), "it was killed: {first:?}");
    cx.provider().start_worker(&worker, &StartOptions::after(first.run.clone())).await?;
    let running = |status: &WorkerStatus| status.phase == WorkerPhase::Running && status.run != first.run;
    let second = cx.until(&worker, "running again", running).await?;
    check!(second.exit.is_none() && second.failure.is_none() && !second.out_of_memory, "{second:?}");
    let times = second.times;
    check!(times.finished.is_none() && times.stopping.is_none(), "times of the last run: {times:?}");
    check!(times.started >= first.times.finished, "{times:?} after {:?}", first.times);
    let listing = cx.provider().list_workers(&Default::default()).await?;
    let listed = &listing.workers[0];
    check!(
        listed.exit.is_none() && listed.failure.is_none() && listed.times.finished.is_none(),
        "{listed:?}"
    );
    Ok(())
}

async fn p1_start_of_what_is_missing_is_not_found(cx: CaseContext) -> CaseResult {
    let error = fails_with(ErrorKind::NotFound, cx.start(&WorkerRef::first("nobody".parse()?)).await)?;
    check!(!error.is_retryable(), "{error:?}");
    cx.lists(&[]).await?;
    Ok(())
}

async fn p1_start_reports_its_times(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Exit(0)).await?;
    let times = cx.ended(&worker).await?.times;
    let (Some(created), Some(started), Some(finished)) = (times.created, times.started, times.finished)
    else {
        return Err(super::CaseFailure::new(format!("not all times are known: {times:?}")));
    };
    check!(created <= started && started <= finished, "out of order: {times:?}");
    Ok(())
}

async fn p7_a_hundred_workers_at_once(cx: CaseContext) -> CaseResult {
    use futures::{StreamExt as _, TryStreamExt as _};
    const WORKERS: usize = 100;
    let program = Program::ObeyTerm(0);
    let starts = futures::stream::iter(0..WORKERS).map(|n| {
        let (cx, program) = (cx.clone(), program.clone());
        async move { cx.run(&format!("w-{n}"), &program).await }
    });
    let workers: Vec<WorkerRef> = starts.buffer_unordered(16).try_collect().await?;
    super::eventually(super::PATIENCE * 3, async || {
        let listing = cx.provider().list_workers(&Default::default()).await?;
        let running = listing.workers.iter().filter(|status| status.phase == WorkerPhase::Running).count();
        check_eq!(running, WORKERS);
        Ok(())
    })
    .await?;
    let deletes = futures::stream::iter(workers).map(|worker| {
        let provider = cx.shared_provider();
        async move { provider.delete_worker(&worker, &Default::default()).await }
    });
    deletes.buffer_unordered(16).try_collect::<Vec<()>>().await?;
    cx.lists(&[]).await
}
