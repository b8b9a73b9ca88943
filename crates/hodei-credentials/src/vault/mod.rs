//! Credentials in HashiCorp Vault or OpenBao.
//!
//! [`VaultSettings`] says where the nodes are and how to log in, [`VaultCredentialProvider`] keeps credentials in the
//! key-value engine (version 2), and hands out those that other engines make for each reader.
//!
//! # How a credential stands there
//! Each part is a field of its name, as text, so that whoever else reads the secret finds `username` and `password`. One
//! more field, `_hodei`, says what the fields do not: the kind, the time of expiry, the stage at birth, a word by which a
//! repetition is known, and which parts are base64, being no text. A secret that others wrote is read too: its kind goes
//! by the names of its fields; of one field this is the secret, of several others all of them as a JSON object.
//!
//! # Stages
//! The engine has none. A version says in itself with which stage it was stored; what was moved since stands in the
//! secret's custom metadata, entry `hodei`, by check-and-set. OpenBao has that, Vault does not: there the capability is
//! missing, and the newest version is the current one. What to know:
//! - Whoever reads the secret without this library gets the newest version, a pending one too.
//! - What others write is in use at once, as the newest version, whatever is pending.
//! - The engine forgets versions beyond `max_versions` (10 unless set otherwise), previous and pending ones too. A pending
//!   version that would make it forget the current one is refused.
//! - Nothing keeps a version that is destroyed from being made the current one at that instant by somebody else.
//!
//! # Several nodes
//! Writes go to the active node, and so do reads while there is one. While there is none, standbys serve reads where they
//! can (OpenBao's do), and writes wait for the election. Standbys are told how far the cluster was at our last write
//! (`X-Vault-Index`); where none is as far, the version that a standby has is taken unless this provider itself wrote a
//! later one, though not all moves of stages may show. Of several nodes that say they are active, the one that became so
//! last is believed: one that was halted may go on saying so. A write of which nobody knows the outcome is looked for: each one goes on top of one version and carries a
//! word of its own, so that it is never there twice. Nothing else is retried.
//!
//! # Leases
//! With [`dynamic`](VaultSettings::dynamic), keys are answered by another engine: each read makes a credential, whose
//! lease is prolonged and taken back by this port. A lease dies with the log-in that it was made by. So logging in anew,
//! which happens when the log-in has reached its longest life (`token_max_ttl`), ends the leases of before: give the role
//! a `token_period`, and log-ins live as long as they are prolonged. For the same reason no log-in is revoked when this is
//! dropped; workers may use its leases still.
//!
//! # What it costs
//! A read is one request, where nothing was moved or the newest version is in use; else two. A read of a version or of
//! another stage is two, and one for each version since the last move. Storing is two; by a token one more for each
//! version that is there; as pending or with an expiry three more the first time. A listing is one request on OpenBao if
//! the log-in's policies grant `scan` on `MOUNT/detailed-metadata/*`, else one for each folder and each secret.
//!
//! # What the log-in's policies must grant
//! `create`, `read` and `update` on `MOUNT/data/*`; `read`, `list`, `delete`, and for stages and expiry `create` and
//! `update`, on `MOUNT/metadata/*`; `update` on `MOUNT/destroy/*`; `read` on `MOUNT/config`, without which there are no
//! stages; for leases `read` on the engine's path, `update` on `sys/leases/revoke`. The policy `default` grants the rest.
//!
//! # What to know
//! - Deleting a credential deletes its metadata, and its versions are counted from 1 again if it is stored anew.
//! - A refused token is told from a missing permission by asking whether the token may look at itself. One that may not
//!   (no policy `default`) is taken for good for a minute after its log-in, and is replaced after a refusal then.
//! - The credentials of [`dynamic`](VaultSettings::dynamic) engines are not listed: there is none before it is read.

mod address;
mod auth;
mod capabilities;
mod client;
mod cluster;
mod error;
mod keeper;
mod kv;
mod leases;
mod login;
mod provider;
mod read;
mod record;
mod session;
mod settings;
mod stages;
mod store;
mod token;
mod transport;
mod written;

pub use auth::{LoginSecret, VaultAuth};
pub use provider::{VaultCredentialProvider, VaultLogin};
pub use settings::{VaultSettings, VaultTls};
