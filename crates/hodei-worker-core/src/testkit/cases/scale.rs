use super::{CaseContext, CaseResult, Program, cases, check_eq, fails_with};
use crate::{
    error::ErrorKind,
    provider::{ScaleOptions, WorkerFilter},
};

cases! {
    s3_a_native_group_has_the_size_that_was_set [NativeGroups];
    s3_a_wrong_expectation_changes_nothing [NativeGroups];
    s3_a_group_that_does_not_exist_is_not_found [NativeGroups];
}

/// Options that make the group if there is none.
fn made(cx: &CaseContext) -> CaseResult<ScaleOptions> {
    let template = cx.builder("web", &Program::ObeyTerm(0)).worker_type("web").build()?;
    Ok(ScaleOptions::default().with_template(template))
}

async fn s3_a_native_group_has_the_size_that_was_set(cx: CaseContext) -> CaseResult {
    let (group, options) = ("web".parse()?, made(&cx)?);
    for size in [2, 5, 0] {
        let members = cx.provider().scale_workers(&group, size, &options).await?;
        check_eq!(members.len(), size);
        let listing = cx.provider().list_workers(&WorkerFilter::worker_type("web".parse()?)).await?;
        check_eq!(listing.workers.len(), size);
    }
    Ok(())
}

async fn s3_a_wrong_expectation_changes_nothing(cx: CaseContext) -> CaseResult {
    let group = "web".parse()?;
    cx.provider().scale_workers(&group, 2, &made(&cx)?).await?;
    let wrong = ScaleOptions::expecting(7);
    fails_with(ErrorKind::Conflict, cx.provider().scale_workers(&group, 4, &wrong).await)?;
    let right = ScaleOptions::expecting(2);
    check_eq!(cx.provider().scale_workers(&group, 0, &right).await?.len(), 0);
    Ok(())
}

async fn s3_a_group_that_does_not_exist_is_not_found(cx: CaseContext) -> CaseResult {
    let result = cx.provider().scale_workers(&"nobody".parse()?, 2, &ScaleOptions::default()).await;
    fails_with(ErrorKind::NotFound, result)?;
    cx.lists(&[]).await
}
