//! The port: what every provider does, and what its calls take and return.

mod calls;
mod connection;
mod exec;
mod ext;
mod info;
mod logs;
mod operation;
mod port;
mod stats;

pub use calls::{
    AutoscaleOptions, CreateOptions, CreateProgress, DeleteOptions, Listing, ProgressSink, ScaleOptions,
    StartOptions, StatsOptions, StopOptions, WatchOptions, WorkerFilter,
};
pub use connection::WorkerConnection;
pub use exec::{ExecOptions, ExecOutput, ExecSession};
pub use ext::WorkerProviderExt;
pub use info::{ProviderInfo, ProviderType};
pub use logs::{
    Copied, LineEnd, LineStyle, LogChunk, LogEntry, LogFields, LogFile, LogFileOptions, LogItem, LogLevel,
    LogLine, LogLines, LogOptions, LogPosition, LogRecord, LogStream, LogValue, copy_logs,
};
pub use operation::{Lane, Operation};
pub use port::{BoxStream, WorkerProvider};
pub use stats::WorkerStats;
