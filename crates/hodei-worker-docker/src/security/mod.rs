//! What workers may ask for, and who judges their images.

mod policy;
mod scan;

pub(crate) use policy::Hardened;
pub use policy::SecurityPolicy;
pub(crate) use scan::Scans;
pub use scan::{ImageScanner, ScanVerdict, ScannedImage};
