use super::{CaseContext, CaseResult, cases, check_eq, fails_with};
use crate::{capability::Capability, error::ErrorKind, provider::ScaleOptions};

cases! {
    s3_a_native_group_has_the_size_that_was_set [NativeGroups];
    s3_a_wrong_expectation_changes_nothing [NativeGroups];
}

async fn s3_a_native_group_has_the_size_that_was_set(cx: CaseContext) -> CaseResult {
    debug_assert!(cx.has(Capability::NativeGroups));
    let group = "web".parse()?;
    for size in [2, 5, 0] {
        let members = cx.provider().scale_workers(&group, size, &ScaleOptions::default()).await?;
        check_eq!(members.len(), size);
    }
    Ok(())
}

async fn s3_a_wrong_expectation_changes_nothing(cx: CaseContext) -> CaseResult {
    let group = "web".parse()?;
    cx.provider().scale_workers(&group, 2, &ScaleOptions::default()).await?;
    let wrong = ScaleOptions { expected: Some(7) };
    fails_with(ErrorKind::Conflict, cx.provider().scale_workers(&group, 4, &wrong).await)?;
    let right = ScaleOptions { expected: Some(2) };
    check_eq!(cx.provider().scale_workers(&group, 0, &right).await?.len(), 0);
    Ok(())
}
