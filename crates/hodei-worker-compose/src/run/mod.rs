//! A project as a group of workers.

mod composition;
mod credentials;
mod down;
mod images;
mod instance;
mod managed;
mod names;
mod options;
mod refuse;
mod translate;
mod up;
mod watching;

pub use composition::Composition;
pub use credentials::ProjectCredentials;
pub use instance::Instance;
pub use options::{DownOptions, UpOptions};
