//! The cases, by what they are about.

mod stages;
mod store;
mod watch;

use super::{Case, context::CredentialContext};
use crate::{
    credential::{
        CredentialCapability, CredentialStage, CredentialVersion, DeleteCredentialOptions, MoveStageOptions,
        RenewOptions, RetrieveOptions, RotateOptions, StoreOptions,
    },
    error::ErrorKind,
    testkit::{CaseFailure, CaseResult},
};

/// Makes cases of async functions.
macro_rules! cases {
    ($($id:ident [$($need:ident),*]);* $(;)?) => {
        pub(super) const CASES: &[super::Case] = &[$(super::Case {
            id: stringify!($id),
            needs: &[$(crate::credential::CredentialCapability::$need),*],
            run: |context| Box::pin(async move { $id(&context).await }),
        }),*];
    };
}
pub(super) use cases;

pub(super) fn all() -> impl Iterator<Item = Case> {
    [store::CASES, stages::CASES, watch::CASES].into_iter().flatten().copied()
}

/// What the store lacks it says so of, and changes nothing.
pub(super) async fn refused(cx: &CredentialContext, missing: CredentialCapability) -> CaseResult {
    use super::context::failed;
    use CredentialCapability as C;
    let key = cx.key("a")?;
    let version = CredentialVersion::new("1");
    let unsupported = ErrorKind::Unsupported;
    match missing {
        C::Versions => drop(failed(cx.store.list_versions(&key).await, unsupported)?),
        C::Stages => {
            let (stage, options) = (CredentialStage::Current, MoveStageOptions::default());
            failed(cx.store.move_stage(&key, stage, &version, &options).await, unsupported)?;
            failed(cx.put_by(&key, "x", &StoreOptions::pending()).await, unsupported)?;
        }
        C::Watch => drop(failed(cx.store.watch_credentials("").await.map(drop), unsupported)?),
        C::Rotation => {
            let rotated = cx.store.rotate_credential(&key, &RotateOptions::default()).await;
            failed(rotated, unsupported)?;
        }
        C::Leases => {
            let lease =
                crate::credential::CredentialLease::new("none", crate::clock::Timestamp::UNIX_EPOCH, true);
            failed(cx.store.renew_lease(&lease, &RenewOptions::default()).await, unsupported)?;
            failed(cx.store.revoke_lease(&lease).await, unsupported)?;
        }
        C::Tokens => {
            failed(cx.put_by(&key, "x", &StoreOptions::default().with_token("t")).await, unsupported)?;
        }
        C::CompareAndSet => drop(failed(cx.put_by(&key, "x", &StoreOptions::new_only()).await, unsupported)?),
        C::Expiry => {
            let later = StoreOptions::default().expiring(crate::clock::Timestamp::MAX);
            failed(cx.put_by(&key, "x", &later).await, unsupported)?;
        }
        C::DeleteVersion => {
            let one = DeleteCredentialOptions::version(version);
            failed(cx.store.delete_credential(&key, &one).await, unsupported)?;
        }
        C::Store => drop(failed(cx.put(&key, "x").await, unsupported)?),
        C::List => drop(failed(cx.store.list_credentials(&cx.prefix).await, unsupported)?),
        C::Binary => {
            let stored =
                cx.store.store_credential(&key, vec![0xff, 0].into(), &StoreOptions::default()).await;
            failed(stored, ErrorKind::Unsupported)?;
        }
    }
    match cx.store.retrieve_credential(&key, &RetrieveOptions::default()).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(CaseFailure::new("it was refused, and stored all the same")),
    }
}
