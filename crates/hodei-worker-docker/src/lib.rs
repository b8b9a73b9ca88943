//! Workers as containers of a Docker Engine.
//!
//! [`DockerSettings`] says where the engine is, [`DockerProvider`] runs workers on it, and [`DockerOptions`] are what
//! a worker can ask of this provider alone. Engines from Docker 19.03 on are spoken to, over a Unix socket, TCP or
//! TLS, at the newest API version that both sides know.
//!
//! # What it costs
//! A worker's life is five requests: create, a look at it, start, stop, delete. Under a watch it is seven: one look each
//! after creation, start and end, and none before the start where a Unix socket lets the watch be trusted (eight over
//! TCP). A grace that is no number of whole seconds and was not enough costs a sixth, as does over
//! TCP a look whether somebody else has asked the worker to stop; on a Unix socket one stream per provider tells this. A
//! missing image's pull costs five more: the second attempt to create, and three that tell whether the image is ours. A
//! worker that this instance did not create costs one to find it. A volume that the options define costs one look if they
//! name its driver or that driver's options, and four requests when it is given to its owner; one that another host has
//! made is looked at once for that, by four. Each network of a worker costs a look before its
//! creation, unless this provider has looked at it within the last second, as it does not look again at images then, and
//! three at its end; old engines (before Docker 25) cost one more for each network after the first. A list is one request and one for each worker in it,
//! since the engine's list holds neither exit codes nor the times of runs. A watch is one connection for all watchers, a
//! list when it begins and after each gap, and one request for each change; while nothing changes it costs nothing on a
//! Unix socket, and on TCP two requests each [`silence_limit`](DockerSettings::silence_limit), which opens the stream
//! anew, since a TCP connection can die without a sign. An engine remembers 256 events, of everybody: where more come in
//! that time, health checks among them, each renewal is a list.
//!
//! A log costs one request each time that it is opened, and up to two with `tail`; on engines from Docker 23 on twice as
//! many, since these do not say when they leave out what is damaged.
//!
//! # What to know
//! - A worker is a container named `hodei.<installation>.<worker>.<generation>`. It is acted on by its id, after its
//!   labels were checked; what does not carry this installation's labels is never touched.
//! - A command that runs by [`exec_in_worker`](hodei_worker_core::WorkerProvider::exec_in_worker) goes on when its
//!   session is dropped: the engine has no request to end it.
//! - Secrets are files in memory on an engine of this machine: one behind a Unix socket that says that it has our name
//!   and kernel, or of which [`secrets_dir`](DockerSettings::secrets_dir) says that it sees our files. On any other they
//!   are written into volumes of the worker's own, one for each folder that they appear in, before each start: on the
//!   engine's disk, and gone with the worker. The capability says so. Over TCP without TLS, save on this machine's own
//!   loopback, there are none, since whoever sits on the way could read them.
//! - Networks and volumes that a configuration names are made if they do not exist, carry our labels then, and go with the
//!   last worker that uses them. Those that exist are used as they are, and left alone; one that differs from what the
//!   options define is a conflict. A network that a deletion left which was cut off goes when the next host connects, ten
//!   minutes after it was made at the earliest; a volume stays, since it may have been meant to.
//! - An option that the engine is too old for is refused by name, since it would be ignored without a word.
//! - Without a [`SecurityPolicy`] a container is what the engine makes of it. [`SecurityPolicy::restricted`] is one line
//!   away: no root, no capabilities, no new rights, a root file system for reading only, nothing of the machine
//!   or the engine's own options. Users are named by numbers then.
//!   An [`ImageScanner`] judges images before workers are made of them.
//! - Labels of the image are not the worker's, though the engine shows them so; and what somebody runs from a
//!   `docker commit` of a worker is not the worker.
//! - Images are fetched with the log-in of their registry: a secret that [`registries`](DockerSettings::registries)
//!   names, or else what Docker's own client has ([`docker_config`](DockerSettings::docker_config)). It is sent to the
//!   engine with the request, over TCP without TLS in the clear.
//! - An image that we have pulled gets a second name, `hodei-worker.invalid/<installation>:…`, by which
//!   [`prune_images`](DockerProvider::prune_images) knows it. Whoever wants it gone removes both names.
//! - An engine sends no event of a start that fails before there is a process. The watch of the host that made it
//!   tells it all the same; other hosts see it when they look.
//! - Nothing is retried, save a request that an idle connection turned out not to have sent.
//!
//! # Examples
//! ```no_run
//! use hodei_worker_core::{ConnectContext, WorkerConfig, WorkerProvider as _, provider::CreateOptions};
//! use hodei_worker_docker::{DockerProvider, DockerSettings};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let context = ConnectContext::new("docker".parse()?, "my-app".parse()?);
//! let provider = DockerProvider::connect(DockerSettings::default(), context).await?;
//! let config = WorkerConfig::builder("hello").image("busybox:1").command(["echo", "hello"]).build()?;
//! let handle = provider.create_worker(&config, &CreateOptions::default()).await?;
//! provider.start_worker(&handle.worker, &Default::default()).await?;
//! # Ok(()) }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(unix))]
compile_error!("the Docker provider runs on Unix: it opens Unix sockets and sets the modes of secret files");

mod backoff;
mod capabilities;
mod client;
mod container;
mod context;
mod endpoint;
mod error;
mod events;
mod exec;
mod helper;
mod image;
mod kills;
mod lately;
mod logs;
mod memory;
mod names;
mod network;
mod options;
mod provider;
mod reach;
mod registry;
mod secret;
mod security;
mod settings;
mod stats;
mod status;
mod transport;
mod volume;

pub use image::{ImageUpdate, PruneOptions, PrunedImage};
pub use options::{
    DeviceOptions, DockerOptions, HealthOptions, LimitOptions, MountOptions, NativeRestart, NetworkOptions,
    NetworkingOptions, Owner, PortRange, PullPolicy, SecurityOptions, StorageOptions, SubnetOptions, Ulimit,
    VolumeOptions,
};
pub use provider::DockerProvider;
pub use registry::{DockerConfig, RegistryAuth};
pub use security::{ImageScanner, ScanVerdict, ScannedImage, SecurityPolicy};
pub use settings::{DockerSettings, TlsSettings};
