use std::{sync::Arc, time::Duration};

use hodei_worker_core::{Result, WorkerRef, provider::DeleteOptions};

use crate::provider::Shared;

impl Shared {
    /// Its pod goes at once, and with it what it owns: the cluster collects that.
    pub(crate) async fn delete(self: &Arc<Self>, worker: &WorkerRef, options: &DeleteOptions) -> Result<()> {
        self.memory.forget(worker);
        let Some(found) = self.find(worker).await? else {
            // An earlier deletion may have been cut off.
            return if options.keep_volumes { Ok(()) } else { self.drop_claims_of(worker).await };
        };
        // A grace of none would forget the pod while its processes run.
        self.ask_to_end(&found, Some(Duration::ZERO)).await?;
        self.until_gone(worker, &found).await?;
        if options.keep_volumes { Ok(()) } else { self.drop_claims(&found).await }
    }
}
