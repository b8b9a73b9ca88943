//! Workers as pods of a Kubernetes cluster.
//!
//! [`KubernetesSettings`] says where the cluster is, [`KubernetesProvider`] runs workers in one of its namespaces, and
//! [`KubernetesOptions`] are what a worker can ask of this provider alone. API servers from Kubernetes 1.33 on are spoken
//! to.
//!
//! # What to know
//! - A worker is a bare pod named `hodei.<installation>.<worker>.<generation>`, whose one container never restarts by
//!   itself: the manager restarts, by a further generation. It is acted on by its uid, after its labels were checked; what
//!   does not carry this installation's labels is never touched.
//! - A pod waits behind a scheduling gate from its creation to its start. Its start takes the gate away.
//! - A cluster has no stop: what is asked to end is deleted, with its grace in whole seconds, at least one. What has ended
//!   by itself stays until it is deleted.
//! - Pods meet the Pod Security Standard `restricted` unless their [`SecurityOptions`] say otherwise: an image that runs as
//!   root needs [`KubernetesOptions::user`].
//! - Secrets become an object of the cluster when the worker starts, in memory on its node, and go with its pod.
//! - A named volume is a claim of that name. One that is made for a worker goes with the last worker that mounts it,
//!   unless it is to be kept; one that was there before stays.
//! - A Service goes with the last worker that asks for it. It leads to workers that are ready.
//! - A ConfigMap goes with the last worker that mounts it. Whether a NetworkPolicy holds is up to the network plugin.
//! - containerd before 1.6.21 loses the end of what a worker writes just before it ends.
//! - A command's folder, environment and secrets are set by a shell in the worker (`sh` and `dd`): what stands in the
//!   command line of an exec stands in the cluster's audit log.
//! - A node keeps the output of a worker in files that it rotates, at 10 MiB unless its kubelet is told otherwise, and the
//!   API shows the last of them. A reader that goes on in another file than it stopped in is told of a
//!   [gap](hodei_worker_core::provider::LogItem::Gap), unless what it read last is in there; nothing tells what a file held
//!   that was rotated away before anybody read of it.
//! - A host outside of the cluster reaches ports of workers through the API server: the node connects to the pod's loopback,
//!   so that a program which listens on the pod's address alone refuses. Nothing tells that a connection has come about,
//!   only that it has not.
//! - A host needs to be allowed what [`Permissions`] say, and nothing else; they print the Role for it.
//! - A group is a Deployment named `hodei.<installation>.<group>`, made of a template by `scale_workers`. Its members are the
//!   cluster's: it starts them, begins them again where they end, and makes another for one that is removed. They are
//!   listed, watched, read and measured as workers are, under ids that the cluster chose. A group of size 0 is none:
//!   it goes, with what stands around it. Secrets are those of the time when the group was made.
//! - An autoscaler of the cluster's sizes a group from `autoscale` on, by CPU, memory and metrics of others
//!   ([`AutoscalerOptions`]); what it did is read by [`KubernetesProvider::scaling_events`].
//! - What a worker uses is told as averages, by the cluster's metrics API where it has one: every 15 to 60 seconds, and
//!   not of a worker that has just begun.
//! - Nothing is retried.
//!
//! # What it costs
//! Creation and start are one request each, deletion three: a look, the deletion, and a watch on its end where no watch is
//! open. Secrets cost two more, each volume, Service, ConfigMap and policy one to four, and what stands around a worker
//! one more. A list is one request for each 1,000 workers; a watch is one connection for all watchers,
//! and while nothing changes it costs nothing.
//!
//! # Examples
//! ```no_run
//! use hodei_worker_core::{ConnectContext, WorkerConfig, WorkerProvider as _, provider::CreateOptions};
//! use hodei_worker_k8s::{KubernetesOptions, KubernetesProvider, KubernetesSettings};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let context = ConnectContext::new("cluster".parse()?, "my-app".parse()?);
//! let provider = KubernetesProvider::connect(KubernetesSettings::default(), context).await?;
//! let config = WorkerConfig::builder("hello").image("busybox:1.36").command(["echo", "hello"]);
//! let config = config.options(&KubernetesOptions::default().user(1000)).build()?;
//! let handle = provider.create_worker(&config, &CreateOptions::default()).await?;
//! provider.start_worker(&handle.worker, &Default::default()).await?;
//! # Ok(()) }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attach;
mod capabilities;
mod claim;
mod client;
mod config_map;
mod disruption;
mod error;
mod exec;
mod group;
mod logs;
mod memory;
mod names;
mod options;
mod owned;
mod permissions;
mod pod;
mod port;
mod provider;
mod quantity;
mod secret;
mod service;
mod settings;
mod status;
mod traffic;
mod usage;
mod watch;

pub use group::{AutoscalerStatus, ScalingEvent};
pub use options::{
    AccessMode, ClaimOptions, KubernetesOptions, PullPolicy, SecurityOptions, ServiceOptions, ServiceScope,
    Toleration,
};
pub use options::{AutoscalerOptions, ScalingMetric, ScalingPace, ScalingStep};
pub use options::{ConfigMapOptions, TrafficOptions, TrafficPeer, TrafficRule};
pub use options::{NeighbourRule, Neighbours, NodeCondition, NodeRule, PlacementOptions, SpreadRule};
pub use permissions::{ClusterFeature, PermissionRule, Permissions};
pub use provider::KubernetesProvider;
pub use settings::KubernetesSettings;
