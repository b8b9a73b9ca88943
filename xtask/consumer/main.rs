//! What a crate outside the workspace sees: only what was packaged.

use hodei_worker as _;
use hodei_worker_core::WorkerId;

fn main() {
    assert!(WorkerId::new("web").is_ok());
    assert!(WorkerId::new("").is_err());
}
