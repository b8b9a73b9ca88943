//! Examples of hodei-worker. Each is one file in `examples/`; run one with `cargo run --example NAME`.
//!
//! | example | what it shows | needs |
//! |---|---|---|
//! | `quickstart` | three workers, their logs live, one killed from outside, a table at the end | nothing |
//! | `readme` | the code of the README | nothing |
//! | `docker` | a container with limits, logs, a command in it, and usage | a Docker Engine, `--features docker` |
//! | `metrics` | metrics for Prometheus, served on this machine | `--features metrics` |
//! | `custom_provider` | a provider of one's own, on a page, under the behaviour suite | `--features testkit` |
