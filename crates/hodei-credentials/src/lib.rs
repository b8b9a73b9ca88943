//! Where hodei-worker's secrets are kept, behind one port:
//! [`CredentialProvider`](hodei_worker_core::credential::CredentialProvider).
//!
//! # Crate features
//!
//! | feature | what it brings | default |
//! |---|---|---|
//! | `simple` | [`SimpleCredentialProvider`]: an encrypted store of the host's own, on redb | yes |
//! | `sled` | the same on sled | no |
//! | `vault` | `VaultCredentialProvider`, in the module `vault`: HashiCorp Vault and OpenBao | no |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "simple")]
mod crypto;
#[cfg(feature = "simple")]
mod simple;
#[cfg(feature = "vault")]
#[cfg_attr(docsrs, doc(cfg(feature = "vault")))]
pub mod vault;

#[cfg(feature = "simple")]
pub use simple::{
    Anchor, AnchorMark, ExportedCredential, ExportedVersion, FileAnchor, HostAnchor, MasterKey,
    SimpleCredentialProvider, SimpleSettings, SimpleVerification,
};
