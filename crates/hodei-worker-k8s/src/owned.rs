//! Objects that several workers have together: owned by the pods of all of them, so that the cluster removes them with the
//! last.

use std::fmt::Debug;

use hodei_worker_core::{Error, ErrorKind, Result, model::labels};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Resource,
    api::{Patch, PatchParams, PostParams},
    core::response::reason,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{names, provider::Shared};

/// Attempts against one that goes with its last worker while this one comes.
const ATTEMPTS: usize = 5;

impl Shared {
    /// Makes it, or adds the owners of `wanted` to those of the one that is there, if `judge` takes that, and makes
    /// `changes` in it. As it is then, and whether it was made now.
    pub(crate) async fn share<K>(
        &self,
        wanted: &K,
        changes: Value,
        judge: impl Fn(&K) -> Result<()>,
    ) -> Result<(K, bool)>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let kind = K::kind(&());
        let name = wanted.meta().name.clone().unwrap_or_default();
        let shared = self.try_share(&name, &kind, wanted, changes, judge).await;
        shared.map_err(|error| error.with_context(kind.to_lowercase(), name))
    }

    async fn try_share<K>(
        &self,
        name: &str,
        kind: &str,
        wanted: &K,
        mut changes: Value,
        judge: impl Fn(&K) -> Result<()>,
    ) -> Result<(K, bool)>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let all = self.cluster.api::<K>();
        let parameters =
            PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
        for _ in 0..ATTEMPTS {
            match self.cluster.call(all.create(&parameters, wanted)).await {
                Ok(made) => return Ok((made, true)),
                Err(failed)
                    if failed.status().is_some_and(|status| status.reason == reason::ALREADY_EXISTS) => {}
                Err(failed) => return Err(self.cluster.error(failed)),
            }
            let found = match self.cluster.call(all.get(name)).await {
                Ok(found) => found,
                Err(failed) if failed.is_not_found() => continue,
                Err(failed) => return Err(self.cluster.error(failed)),
            };
            let installation = found.meta().labels.as_ref().and_then(|all| all.get(labels::INSTALLATION));
            if installation.map(String::as_str) != Some(self.view.installation.as_str()) {
                let message =
                    format!("a {kind} of that name exists that is not this installation's; it is left alone");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            judge(&found)?;
            // The patch knows lists of owners by their uids.
            changes["metadata"] = serde_json::json!({
                "uid": found.meta().uid,
                "ownerReferences": wanted.meta().owner_references,
            });
            let patch =
                PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
            match self.cluster.call(all.patch(name, &patch, &Patch::Strategic(&changes))).await {
                Ok(joined) => return Ok((joined, false)),
                // It went with its last worker, or was made anew since.
                Err(failed) if failed.status().is_some_and(|status| matches!(status.code, 404 | 409)) => {}
                Err(failed) => return Err(self.cluster.error(failed)),
            }
        }
        Err(Error::new(ErrorKind::Conflict, format!("the {kind} comes and goes")))
    }
}
