//! Reads compose files (the Compose Specification) into a typed canonical model whose every field knows its file and
//! line.
//!
//! The model is what `docker compose config --format json` prints for the same input: [`Project::to_value`] is that
//! very value, and the fields of [`Project`] are the same, typed. [`Composition`] brings a project up as a group of ordinary
//! workers, on any provider that has what it asks for.
//!
//! # What differs from `docker compose`
//! - A port without an address of the machine is published where the provider's settings say: on loopback, unless they say
//!   otherwise.
//! - `container_name` is another name on the service's networks; the engine's own name of a container is the worker's.
//! - Secrets and configs are files of the container's user in memory, from [`ProjectCredentials`]; a changed file is read at
//!   the next start.
//! - A worker is replaced when its image's name means another one on the engine by now, and with `pull_policy: always` in
//!   the registry too. One that was removed from the engine meanwhile is not fetched to be compared.
//! - A [manager](Project::worker_configs) can have the workers instead of the engine.
//! - `restart: always` is the engine's `unless-stopped`: what somebody stopped stays so when the engine begins anew.
//! - A volume that only an image declares, and that a plain `down` has left, is found by the next `up`, and goes with a `down`
//!   with volumes after that; a `down` with volumes alone does not find it.
//! - `expose` opens nothing, as workers of one network reach each other's ports anyway.
//!
//! # What is not run
//! Read, and refused by [`Composition::new`] with field, file and line, so that nothing runs without what it was meant to
//! have:
//!
//! | field | what to do |
//! |---|---|
//! | `build` | build the image, and name it by `image` |
//! | `gpus`, and `devices` of `deploy.resources` | name the device's files by `devices` |
//! | `deploy.resources.reservations.cpus` | `cpu_shares` gives weight; an engine sets no processors aside |
//! | `deploy` with `mode: global`, `placement`, `endpoint_mode`, `labels`, `generic_resources` | needs a swarm |
//! | `deploy.update_config`, `rollback_config` | as many workers are replaced at once as [`UpOptions::parallelism`] says, each made before the old one goes |
//! | `deploy.restart_policy` with `delay` or `window` | times between restarts are a manager's settings |
//! | `volumes_from`, `external_links`, `links` with another name | name volumes, networks and aliases |
//! | `provider`, `models`, `use_api_socket`, `pre_start`, `post_start`, `pre_stop` | nothing here does that |
//! | `cpu_period`, `cpu_quota` | say `cpus` |
//! | `cpu_rt_period`, `cpu_rt_runtime`, `blkio_config` by device, `isolation`, `credential_spec`, `cpu_count`, `cpu_percent` | nothing here does that |
//! | `uid`, `gid` and `mode` of secrets and configs | the file is its container's user's, for reading |
//! | one port published from two ranges, or from one with fewer ports than workers | name a range that is wide enough |
//!
//! What the engine is too old for (`platform` and `cgroup` before Docker 20.10, `annotations` before 24, `start_interval` and
//! `mac_address` before 25, `subpath` of a volume before 26) is refused too, with the option's name, but only by
//! [`Composition::up`], when the first worker is to be made that needs it.
//!
//! # What is read
//! - **Files**: one or several laid over each other, with the tags `!reset` and `!override`; `include`, `extends`;
//!   anchors, aliases and merge keys; keys that begin with `x-`.
//! - **Variables**: `$NAME`, `${NAME}` and `${NAME:-default}`, `${NAME-default}`, `${NAME:?error}`, `${NAME?error}`,
//!   `${NAME:+replacement}`, `${NAME+replacement}`, one inside of another; `$$` for a dollar sign. They come from
//!   [`ProjectOptions`] and from files of variables, never from the process by itself.
//! - **Everything that the specification has** for services, networks, volumes, secrets, configs and models, in all
//!   short and long forms. What cannot be run is refused by [`Composition::new`], by field, file and line.
//!
//! # What is refused
//! Each with file, line and field, and with what to do about it: keys that nobody knows (with the nearest one that is
//! known), values of the wrong kind, names of things that are not there, contradictions, variables that are required
//! and missing, keys that are there twice, services that need, extend or include each other, files on other machines,
//! and input that is too large: see [`limits`].
//!
//! # Examples
//! ```
//! use hodei_worker_compose::{Project, ProjectOptions};
//!
//! let file = "
//! services:
//!   web:
//!     image: nginx:${TAG:-latest}
//!     depends_on: {db: {condition: service_healthy}}
//!   db:
//!     image: postgres
//!     volumes: ['data:/var/lib/postgresql/data']
//! volumes:
//!   data:
//! ";
//! let options = ProjectOptions::new().project_name("shop").variable("TAG", "1.27");
//! let project = Project::parse(file, &options)?;
//! assert_eq!(project.services["web"].image.as_deref(), Some("nginx:1.27"));
//! assert_eq!(project.volumes["data"].name, "shop_data");
//! # Ok::<(), hodei_worker_core::Error>(())
//! ```

mod canonical;
mod check;
mod dotenv;
mod files;
mod interpolate;
pub mod limits;
mod load;
mod merge;
pub mod model;
mod mount;
mod normalize;
mod number;
mod options;
mod paths;
mod place;
mod project;
mod run;
mod schema;
mod shape;
mod shell;
mod template;
mod tree;
mod units;
mod yaml;

pub use model::Service;
pub use options::ProjectOptions;
pub use place::Place;
pub use project::{Project, Warning};
pub use run::{Composition, DownOptions, Instance, ProjectCredentials, UpOptions};
