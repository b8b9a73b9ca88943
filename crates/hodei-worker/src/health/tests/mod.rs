mod evaluation;
mod monitor;
mod planning;
mod properties;

use std::time::Duration;

use super::finding::Finding;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn well() -> Finding {
    Finding::Success { took: Duration::from_millis(1) }
}

fn unwell() -> Finding {
    Finding::failure("refused")
}
