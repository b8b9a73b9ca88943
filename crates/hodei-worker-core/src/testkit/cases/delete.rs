use super::{CaseContext, CaseResult, Program, cases, check, check_eq, fails_with};
use crate::{
    capability::Capability,
    error::ErrorKind,
    model::{Generation, WorkerRef},
    provider::{CreateOptions, DeleteOptions, LogOptions},
    status::WorkerPhase,
};

cases! {
    p1_delete_of_what_is_missing_succeeds [];
    p1_delete_twice_succeeds [KeepsEnded];
    p1_delete_of_one_that_never_ran [DeferredStart];
    p1_delete_while_it_runs [Logs];
    p1_delete_at_once_many_times [];
    p1_delete_of_one_generation_leaves_the_other [DeferredStart, KeepsEnded];
    p1_delete_leaves_no_status_and_no_logs [KeepsEnded];
}

async fn p1_delete_of_what_is_missing_succeeds(cx: CaseContext) -> CaseResult {
    cx.provider().delete_worker(&WorkerRef::first("nobody".parse()?), &DeleteOptions::default()).await?;
    Ok(())
}

async fn p1_delete_twice_succeeds(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Exit(0)).await?;
    cx.ended(&worker).await?;
    for _ in 0..2 {
        cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?;
        cx.lists(&[]).await?;
    }
    Ok(())
}

async fn p1_delete_of_one_that_never_ran(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::Exit(0)).await?;
    cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?;
    cx.lists(&[]).await?;
    Ok(())
}

async fn p1_delete_while_it_runs(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::IgnoreTerm).await?;
    cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?;
    cx.lists(&[]).await?;
    let status = cx.provider().get_worker_status(&worker).await?;
    check_eq!(status.phase, WorkerPhase::Absent);
    Ok(())
}

async fn p1_delete_at_once_many_times(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::ObeyTerm(0)).await?;
    let options = DeleteOptions::default();
    futures::future::try_join_all((0..4).map(|_| cx.provider().delete_worker(&worker, &options))).await?;
    cx.lists(&[]).await?;
    Ok(())
}

async fn p1_delete_of_one_generation_leaves_the_other(cx: CaseContext) -> CaseResult {
    let first = cx.create("a", &Program::Exit(0)).await?;
    let config = cx.builder("a", &Program::Exit(0)).build()?;
    let options = CreateOptions::generation(Generation::FIRST.next());
    let second = cx.provider().create_worker(&config, &options).await?.worker;
    cx.provider().delete_worker(&first, &DeleteOptions::default()).await?;
    cx.lists(std::slice::from_ref(&second)).await?;
    cx.start(&second).await?;
    check!(cx.ended(&second).await?.succeeded(), "the second generation was harmed");
    Ok(())
}

async fn p1_delete_leaves_no_status_and_no_logs(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Exit(9)).await?;
    cx.ended(&worker).await?;
    cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?;
    let status = cx.provider().get_worker_status(&worker).await?;
    // Gone is not a success, nor any other end.
    check_eq!((status.phase, status.exit), (WorkerPhase::Absent, None));
    if cx.has(Capability::Logs) {
        let opened = cx.provider().worker_logs(&worker, &LogOptions::all()).await.map(|_| ());
        fails_with(ErrorKind::NotFound, opened)?;
    }
    Ok(())
}
