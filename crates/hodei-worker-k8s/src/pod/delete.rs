use std::{sync::Arc, time::Duration};

use hodei_worker_core::{Result, WorkerRef, provider::DeleteOptions};

use crate::{provider::Shared, status::uid};

impl Shared {
    /// Its pod goes at once, and with it what it owns: the cluster collects that.
    pub(crate) async fn delete(self: &Arc<Self>, worker: &WorkerRef, _: &DeleteOptions) -> Result<()> {
        self.memory.forget(worker);
        let Some(found) = self.find(worker).await? else { return Ok(()) };
        // A grace of none would forget the pod while its processes run.
        self.ask_to_end(worker, &found, Some(Duration::ZERO)).await?;
        self.until_gone(worker, uid(&found)).await
    }
}
