use super::{CaseContext, CaseResult, PATIENCE, Program, cases, check, check_eq};
use crate::{
    provider::{CreateOptions, DeleteOptions, StartOptions, StopOptions, WorkerFilter},
    status::{ExitStatus, WorkerPhase},
};

cases! {
    l6_another_host_of_the_installation_sees_the_same [Logs];
    l6_workers_outlive_the_provider_that_started_them [Logs, SurvivesHost];
    l6_an_exit_is_known_to_a_host_that_came_later [Logs, SurvivesHost, KeepsEnded];
    l6_two_hosts_start_it_once [Logs, SurvivesHost];
    l6_a_job_that_another_host_ran_is_not_run_again [Logs, KeepsEnded, DeferredStart];
    l6_a_worker_that_another_host_made_anew_is_found [Logs, KeepsStopped, DeferredStart];
}

async fn l6_another_host_of_the_installation_sees_the_same(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::ObeyTerm(0)).await?;
    let ours = cx.until(&worker, "running", |status| status.phase == WorkerPhase::Running).await?;
    let host = cx.another_host().await?;
    let theirs = host.get_worker_status(&worker).await?;
    check_eq!((theirs.phase, &theirs.run, &theirs.native_id), (ours.phase, &ours.run, &ours.native_id));
    check_eq!(host.list_workers(&WorkerFilter::all()).await?.workers.len(), 1);
    host.stop_worker(&worker, &StopOptions::default()).await?;
    cx.over(&worker).await?;
    Ok(())
}

async fn l6_workers_outlive_the_provider_that_started_them(cx: CaseContext) -> CaseResult {
    let host = cx.another_host().await?;
    let config = cx.builder("a", &Program::ObeyTerm(6)).build()?;
    let worker = host.create_worker(&config, &Default::default()).await?.worker;
    host.start_worker(&worker, &StartOptions::default()).await?;
    cx.says(&worker, "ready").await?;
    drop(host);
    let status = cx.until(&worker, "running", |status| status.phase == WorkerPhase::Running).await?;
    check!(status.run.is_some(), "{status:?}");
    cx.provider().stop_worker(&worker, &StopOptions::default()).await?;
    let end = cx.over(&worker).await?;
    check!(end.phase == WorkerPhase::Absent || end.exit == Some(ExitStatus::Code(6)), "{end:?}");
    Ok(())
}

async fn l6_an_exit_is_known_to_a_host_that_came_later(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Exit(42)).await?;
    cx.ended(&worker).await?;
    let host = cx.another_host().await?;
    let status = host.get_worker_status(&worker).await?;
    check_eq!((status.phase, status.exit), (WorkerPhase::Exited, Some(ExitStatus::Code(42))));
    Ok(())
}

async fn l6_two_hosts_start_it_once(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::ObeyTerm(0)).await?;
    let (one, two) = (cx.another_host().await?, cx.another_host().await?);
    let options = StartOptions::default();
    let (first, second) =
        futures::join!(one.start_worker(&worker, &options), two.start_worker(&worker, &options));
    first?;
    second?;
    cx.says(&worker, "ready").await?;
    check_eq!(cx.count(&worker, "ready").await?, 1);
    Ok(())
}

async fn l6_a_job_that_another_host_ran_is_not_run_again(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::Exit(0)).await?;
    cx.another_host().await?.start_worker(&worker, &StartOptions::default()).await?;
    let before = cx.ended(&worker).await?;
    // This host made it and has never seen it start.
    cx.start(&worker).await?;
    check_eq!(cx.ended(&worker).await?.run, before.run);
    check_eq!(cx.count(&worker, "run").await?, 1);
    Ok(())
}

async fn l6_a_worker_that_another_host_made_anew_is_found(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::ObeyTerm(1)).await?;
    let host = cx.another_host().await?;
    host.delete_worker(&worker, &DeleteOptions::default()).await?;
    let config = cx.builder("a", &Program::ObeyTerm(2)).build()?;
    host.create_worker(&config, &CreateOptions::default()).await?;
    host.start_worker(&worker, &StartOptions::default()).await?;
    // What this host remembers of it is of an object that is gone.
    cx.says(&worker, "ready").await?;
    cx.provider().stop_worker(&worker, &StopOptions::within(PATIENCE)).await?;
    check_eq!(host.get_worker_status(&worker).await?.exit, Some(ExitStatus::Code(2)));
    Ok(())
}
