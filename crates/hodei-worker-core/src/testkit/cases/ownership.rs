use super::{CaseContext, CaseFailure, CaseResult, Program, cases, check, check_eq, fails_with};
use crate::{
    error::ErrorKind,
    model::WorkerRef,
    provider::{CreateOptions, DeleteOptions, StopOptions},
    status::WorkerPhase,
};

cases! {
    d2_what_carries_no_label_of_ours_is_never_touched [];
    d2_another_installations_workers_are_never_touched [Logs];
}

async fn d2_what_carries_no_label_of_ours_is_never_touched(cx: CaseContext) -> CaseResult {
    let worker = WorkerRef::first("a".parse()?);
    let Some(planted) = cx.subject().plant_unowned(cx.installation(), &worker).await? else {
        return Err(CaseFailure::inapplicable("nobody else can make objects here"));
    };
    let result = async {
        cx.lists(&[]).await?;
        check_eq!(cx.provider().get_worker_status(&worker).await?.phase, WorkerPhase::Absent);
        cx.provider().stop_worker(&worker, &StopOptions::kill()).await?;
        cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?;
        fails_with(ErrorKind::NotFound, cx.start(&worker).await)?;
        // Its name is taken: that is said, and nothing else happens.
        let config = cx.builder("a", &Program::Exit(0)).build()?;
        fails_with(
            ErrorKind::Conflict,
            cx.provider().create_worker(&config, &CreateOptions::default()).await,
        )?;
        check!(planted.is_untouched().await?, "what is not ours was touched");
        Ok(())
    };
    let result: CaseResult = result.await;
    planted.remove().await?;
    result
}

async fn d2_another_installations_workers_are_never_touched(cx: CaseContext) -> CaseResult {
    let other = cx.another_installation().await?;
    let theirs = other.run_ready("a", &Program::ObeyTerm(0)).await?;
    let result = async {
        cx.lists(&[]).await?;
        check_eq!(cx.provider().get_worker_status(&theirs).await?.phase, WorkerPhase::Absent);
        cx.provider().stop_worker(&theirs, &StopOptions::kill()).await?;
        cx.provider().delete_worker(&theirs, &DeleteOptions::default()).await?;
        fails_with(ErrorKind::NotFound, cx.start(&theirs).await)?;
        let status = other.provider().get_worker_status(&theirs).await?;
        check_eq!(status.phase, WorkerPhase::Running);
        Ok(())
    };
    let result: CaseResult = result.await;
    other.clean_up().await?;
    result
}
