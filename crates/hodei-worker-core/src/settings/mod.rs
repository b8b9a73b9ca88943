//! Reading what users write: every problem at once, each with its path, names suggested where one is misspelt.

mod node;
mod problem;
mod read;

pub use problem::{Problem, Problems, nearest};
pub use read::{Parsed, read, read_validated};
