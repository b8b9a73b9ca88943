use std::time::Duration;

use futures::StreamExt as _;

use super::{CaseFailure, CaseResult, CredentialContext};
use crate::credential::{CredentialChange, DeleteCredentialOptions};

super::cases! {
    c1_changes_below_the_prefix_are_told [Store, Watch];
}

/// Longer than any store takes to tell.
const PATIENCE: Duration = Duration::from_secs(30);

async fn c1_changes_below_the_prefix_are_told(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    let mut changes = cx.store.watch_credentials(&cx.prefix).await?;
    cx.put(&key, "first-hunter2").await?;
    cx.store.delete_credential(&key, &DeleteCredentialOptions::default()).await?;
    for wanted in [CredentialChange::Changed(key.clone()), CredentialChange::Deleted(key)] {
        let told = tokio::time::timeout(PATIENCE, changes.next()).await;
        let told = told.map_err(|_| CaseFailure::new("nothing was told"))?;
        let told = told.ok_or_else(|| CaseFailure::new("the watch ended"))??;
        if told != wanted {
            return Err(CaseFailure::new(format!("{told:?} was told in the place of {wanted:?}")));
        }
    }
    Ok(())
}
