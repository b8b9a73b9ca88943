//! Workers as local processes that outlive their host: the embedded default provider of hodei-worker.
mod hook;
mod options;
mod settings;

#[cfg(target_os = "linux")]
mod attached;
#[cfg(target_os = "linux")]
mod capabilities;
#[cfg(target_os = "linux")]
mod create;
#[cfg(target_os = "linux")]
mod error;
#[cfg(target_os = "linux")]
mod exec;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod folders;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod layout;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod lock;
#[cfg(target_os = "linux")]
mod logs;
#[cfg(target_os = "linux")]
mod notices;
#[cfg(target_os = "linux")]
mod observe;
#[cfg(target_os = "linux")]
mod proc;
#[cfg(target_os = "linux")]
mod provider;
#[cfg(target_os = "linux")]
mod ready;
#[cfg(target_os = "linux")]
mod secrets;
#[cfg(target_os = "linux")]
mod start;
#[cfg(target_os = "linux")]
mod stats;
#[cfg(target_os = "linux")]
mod stop;
#[cfg(target_os = "linux")]
mod supervise;
#[cfg(target_os = "linux")]
mod user;
#[cfg(target_os = "linux")]
mod watch;
#[cfg(target_os = "linux")]
mod wire;

pub use hook::init;
pub use options::ProcessOptions;
pub use provider::ProcessProvider;
pub use settings::{LimitMechanism, LogSettings, ProcessSettings, Survival};
