//! Whether a project makes sense.

mod consistent;
mod tree;

pub(crate) use consistent::{Parts, check};
pub(crate) use tree::check_tree;
