//! Examples of hodei-worker. Each is one file in `examples/`; run one with `cargo run --example NAME`.
//!
//! | example | what it shows | needs |
//! |---|---|---|
//! | `quickstart` | three workers, one killed from outside and brought back, a restart of the host, a table | nothing |
//! | `readme` | the code of the README | nothing |
//! | `lifecycle` | a terminal view of workers, their states and events | `--features lifecycle` |
//! | `two_hosts` | two hosts share a fleet, one is killed, the other takes over | PostgreSQL, `--features postgres` |
//! | `docker` | a container with limits, logs, a command in it, and usage | a Docker Engine, `--features docker` |
//! | `kubernetes` | a pod with limits, logs, a command in it, and the Role that a host needs | a cluster, `--features kubernetes` |
//! | `two_clusters` | workers on two clusters as on one | two clusters, `--features kubernetes` |
//! | `metrics` | metrics for Prometheus, served on this machine | `--features metrics` |
//! | `custom_provider` | a provider of one's own, on a page, under the behaviour suite | `--features testkit` |

use std::path::PathBuf;

/// Where an example keeps what survives it: below the user's state folder, else among the temporary files.
pub fn state_folder(name: &str) -> PathBuf {
    let folder = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_STATE_HOME")
        .or_else(|| Some(folder("HOME")?.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("hodei-worker-examples")
        .join(name)
}
