use super::{CaseFailure, CaseResult, CredentialContext};
use crate::{
    credential::{
        CredentialStage::{Current, Pending, Previous},
        CredentialVersion, MoveStageOptions, RetrieveOptions, StoreOptions,
    },
    error::ErrorKind,
    testkit::credentials::context::failed,
};

super::cases! {
    c6_a_pending_version_is_not_in_use_before_it_is_made_the_current_one [Store, Stages];
    c6_stages_are_moved_back_and_forth_and_a_repetition_is_nothing [Store, Stages];
    c6_a_stage_is_not_moved_away_from_another_version_than_expected [Store, Stages];
    c6_a_stage_is_not_given_to_what_is_not_there [Store, Stages];
}

async fn c6_a_pending_version_is_not_in_use_before_it_is_made_the_current_one(
    cx: &CredentialContext,
) -> CaseResult {
    let key = cx.key("a")?;
    let first = cx.put(&key, "first-hunter2").await?;
    let second = cx.put_by(&key, "second-hunter2", &StoreOptions::pending()).await?;
    cx.holds(&key, &RetrieveOptions::default().fresh(), "first-hunter2").await?;
    cx.holds(&key, &RetrieveOptions::stage(Pending), "second-hunter2").await?;
    failed(cx.store.retrieve_credential(&key, &RetrieveOptions::stage(Previous)).await, ErrorKind::NotFound)?;
    cx.store.move_stage(&key, Current, &second, &MoveStageOptions::from(first)).await?;
    cx.holds(&key, &RetrieveOptions::default().fresh(), "second-hunter2").await?;
    cx.holds(&key, &RetrieveOptions::stage(Previous), "first-hunter2").await?;
    failed(cx.store.retrieve_credential(&key, &RetrieveOptions::stage(Pending)).await, ErrorKind::NotFound)?;
    let told = cx.store.retrieve_credential(&key, &RetrieveOptions::version(second)).await?;
    match told.stages == [Current] {
        true => Ok(()),
        false => Err(CaseFailure::new(format!("it is told to be {:?}", told.stages))),
    }
}

async fn c6_stages_are_moved_back_and_forth_and_a_repetition_is_nothing(
    cx: &CredentialContext,
) -> CaseResult {
    let key = cx.key("a")?;
    let first = cx.put(&key, "first-hunter2").await?;
    let second = cx.put(&key, "second-hunter2").await?;
    // Back, twice, and forth.
    for _ in 0..2 {
        cx.store.move_stage(&key, Current, &first, &MoveStageOptions::from(second.clone())).await?;
        cx.holds(&key, &RetrieveOptions::default().fresh(), "first-hunter2").await?;
        cx.holds(&key, &RetrieveOptions::stage(Previous), "second-hunter2").await?;
    }
    cx.store.move_stage(&key, Current, &second, &MoveStageOptions::default()).await?;
    cx.holds(&key, &RetrieveOptions::default().fresh(), "second-hunter2").await
}

async fn c6_a_stage_is_not_moved_away_from_another_version_than_expected(
    cx: &CredentialContext,
) -> CaseResult {
    let key = cx.key("a")?;
    let first = cx.put(&key, "first-hunter2").await?;
    let second = cx.put(&key, "second-hunter2").await?;
    let third = cx.put_by(&key, "third-hunter2", &StoreOptions::pending()).await?;
    // Who believed that the first was in use.
    let stale = cx.store.move_stage(&key, Current, &third, &MoveStageOptions::from(first)).await;
    failed(stale, ErrorKind::Conflict)?;
    cx.holds(&key, &RetrieveOptions::default().fresh(), "second-hunter2").await?;
    cx.store.move_stage(&key, Current, &third, &MoveStageOptions::from(second)).await?;
    cx.holds(&key, &RetrieveOptions::default().fresh(), "third-hunter2").await
}

async fn c6_a_stage_is_not_given_to_what_is_not_there(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    let none = CredentialVersion::new("999999");
    let moved = cx.store.move_stage(&key, Current, &none, &MoveStageOptions::default()).await;
    failed(moved, ErrorKind::NotFound)?;
    cx.put(&key, "first-hunter2").await?;
    let moved = cx.store.move_stage(&key, Current, &none, &MoveStageOptions::default()).await;
    failed(moved, ErrorKind::NotFound)?;
    cx.holds(&key, &RetrieveOptions::default().fresh(), "first-hunter2").await
}
