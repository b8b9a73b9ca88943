//! Whether workers are well.

mod check;
mod finding;
mod flapping;
#[cfg(test)]
mod tests;
mod verdict;
