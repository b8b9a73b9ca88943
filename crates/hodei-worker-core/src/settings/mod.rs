//! Reading what users write: every problem at once, each with its path, names suggested where one is misspelt.
//!
//! **How types are written.** Structs with `deny_unknown_fields`, and enums in serde's default, external form
//! (`{"http": {"port": 80}}`). A variant whose fields are all optional may be a bare word (`"on_failure"`).
//!
//! Enums with `tag` or `untagged` and structs with `flatten` are buffered by serde, which forgets where it reads.
//! Their problems are told too, and the rest is read, but what is told may be the path of the object around the
//! field, and one problem of such an object can hide another.
//!
//! **Secrets.** Text of the wrong type is never repeated in a problem, since it may be a secret in the wrong place.

mod locate;
mod node;
mod problem;
mod read;
#[cfg(test)]
mod tests;
mod word;

pub use problem::{Problem, Problems, nearest};
pub(crate) use read::read_into;
pub use read::{Parsed, read, read_validated};
