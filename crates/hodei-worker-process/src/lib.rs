//! Workers as local processes that outlive their host: the embedded default provider of hodei-worker.
//!
//! Each running worker has a supervisor, a small process that keeps it going when the host dies, writes down what it
//! says and how it ends, and takes with it all that it started. Supervisors are forked from one process of a provider,
//! which is the host's own program once more, by [`init`] in the first line of `main`, or the program
//! `hodei-supervise`, by the setting [`supervisor`](ProcessSettings::supervisor). With neither, workers are the host's children and end with its runtime;
//! the capabilities say which it is. A host that is killed cannot end them: they go on until they end by themselves or
//! the next host stops them, and what they write meanwhile and how they end is lost.
//!
//! - **State** lies in files, in memory where there is a place for it, and is all that hosts and supervisors share.
//!   Several hosts of one installation may use it at once.
//! - **Logs** lie on disk, apart from the state: output of workers whose state is lost with the machine's memory is kept
//!   for some days.
//! - **Stop** signals the worker's main process; at the deadline, and when the main process ends, everything that it
//!   started is killed, by its control group where there is one, and by descent: the supervisor is a subreaper.
//! - **Limits** hold by control groups, of either version; without them memory is bounded per process, and other
//!   limits are refused.
//! - **Services**: systemd kills all processes of a stopped service. Where supervisors cannot have a control group of
//!   their own (below cgroup v1, or without root), a host that runs as a service needs `KillMode=process`.
//! - **Systems**: Linux. Elsewhere connecting answers that it is not supported.
mod hook;
mod options;
mod settings;

#[cfg(target_os = "linux")]
mod attached;
#[cfg(target_os = "linux")]
mod bury;
#[cfg(target_os = "linux")]
mod capabilities;
#[cfg(target_os = "linux")]
mod create;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod error;
#[cfg(target_os = "linux")]
mod exec;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod folders;
#[cfg(target_os = "linux")]
mod fork_server;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod layout;
#[cfg(target_os = "linux")]
mod leader;
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
mod places;
#[cfg(target_os = "linux")]
mod proc;
#[cfg(target_os = "linux")]
mod provider;
#[cfg(target_os = "linux")]
mod ready;
#[cfg(target_os = "linux")]
mod scan;
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

#[cfg(not(target_os = "linux"))]
pub use elsewhere::ProcessProvider;
pub use hook::init;
pub use options::ProcessOptions;
#[cfg(target_os = "linux")]
pub use provider::ProcessProvider;
pub use settings::{LimitMechanism, LogSettings, ProcessSettings, Survival};
