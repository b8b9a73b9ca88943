use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $phrase:literal, $lane:ident;)+) => {
        /// What is being done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Operation { $($(#[doc = $doc])+ $variant,)+ }

        impl Operation {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Its name in metrics and reports.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
            /// As it reads after "cannot".
            pub const fn phrase(self) -> &'static str {
                match self { $(Self::$variant => $phrase,)+ }
            }
            /// Which calls it shares its limit with.
            pub const fn lane(self) -> Lane {
                match self { $(Self::$variant => Lane::$lane,)+ }
            }
        }
    };
}

operations! {
    /// Reaching the provider for the first time.
    Connect = "connect", "connect to", Control;
    /// Finding out what it can do.
    Capabilities = "capabilities", "read the capabilities", Reads;
    /// Creating a worker, fetching its image included.
    Create = "create", "create worker", Long;
    /// Starting a worker.
    Start = "start", "start worker", Long;
    /// Stopping a worker within its grace period.
    Stop = "stop", "stop worker", Long;
    /// Killing a worker: a stop without grace.
    Kill = "kill", "kill worker", Control;
    /// Deleting a worker.
    Delete = "delete", "delete worker", Control;
    /// Finding out which image a configuration means, fetching it where the configuration says so.
    Image = "image", "find out the image", Long;
    /// Reading one worker's status.
    Status = "status", "read the status of worker", Reads;
    /// Listing workers.
    List = "list", "list workers", Reads;
    /// Opening a watch.
    Watch = "watch", "watch workers", Streams;
    /// Opening a worker's logs.
    Logs = "logs", "read the logs of worker", Streams;
    /// Running a command in a worker.
    Exec = "exec", "run a command in worker", Streams;
    /// Connecting to a port of a worker.
    ConnectPort = "connect_port", "connect to a port of worker", Streams;
    /// Reading and writing the streams of a worker's own program.
    Attach = "attach", "attach to worker", Streams;
    /// Measuring a worker.
    Stats = "stats", "measure worker", Reads;
    /// Setting the size of a native group.
    Scale = "scale", "scale a group", Control;
    /// Handing a group's scaling to the platform.
    Autoscale = "autoscale", "set up auto-scaling", Control;
    /// Storing a credential.
    StoreCredential = "store_credential", "store the credential", Control;
    /// Reading a credential.
    RetrieveCredential = "retrieve_credential", "retrieve the credential", Reads;
    /// Rotating a credential.
    RotateCredential = "rotate_credential", "rotate the credential", Control;
    /// Deleting a credential.
    DeleteCredential = "delete_credential", "delete the credential", Control;
    /// Listing credentials.
    ListCredentials = "list_credentials", "list credentials", Reads;
    /// Listing a credential's versions.
    ListVersions = "list_versions", "list the credential's versions", Reads;
    /// Giving a stage to a credential's version.
    MoveStage = "move_stage", "move the credential's stage", Control;
    /// Opening a watch on credentials.
    WatchCredentials = "watch_credentials", "watch credentials", Streams;
    /// Prolonging a credential's lease.
    RenewLease = "renew_lease", "renew the credential's lease", Control;
    /// Taking a credential's lease back.
    RevokeLease = "revoke_lease", "revoke the credential's lease", Control;
}

impl Operation {
    /// Whether doing it twice comes to the same as doing it once, so that it may be repeated when its outcome is
    /// unknown. Everything of the port but a command in a worker; a credential's rotation is not either.
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Exec | Self::RotateCredential | Self::StoreCredential)
    }
    /// Whether it changes nothing.
    pub const fn is_read(self) -> bool {
        matches!(
            self,
            Self::Capabilities
                | Self::Status
                | Self::List
                | Self::Watch
                | Self::Logs
                | Self::ConnectPort
                | Self::Stats
                | Self::RetrieveCredential
                | Self::ListCredentials
                | Self::ListVersions
                | Self::WatchCredentials
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Calls that wait for the same permits. Kinds of calls are kept apart so that a kill always finds one, however
/// many images are being pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Lane {
    /// Short calls that change something: kill, delete, scale.
    Control,
    /// Short calls that change nothing.
    Reads,
    /// Calls that take as long as a pull, a start or a grace period.
    Long,
    /// Opening streams; the permit is held until the stream is open.
    Streams,
}
