//! Images: pulled when they are missing, pinned, compared with their registry, and removed when nobody needs them.

mod ask;
mod identity;
mod look;
mod mark;
mod platform;
mod progress;
mod prune;
mod pull;
mod turns;
mod update;

pub(crate) use look::Wanted;
pub(crate) use platform::Platform;
pub use prune::{PruneOptions, PrunedImage};
pub(crate) use turns::Pulls;
pub use update::ImageUpdate;
