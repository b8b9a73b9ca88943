//! Workers as the host's own children, where there is no supervisor.

use std::sync::Arc;

use hodei_worker_core::Result;

use crate::{host::Host, layout::RunKey, wire::Launch};

impl Host {
    pub(crate) async fn start_attached(self: &Arc<Self>, _key: RunKey, _launch: Launch) -> Result<()> {
        Err(hodei_worker_core::Error::unsupported(hodei_worker_core::provider::Operation::Start))
    }
}
