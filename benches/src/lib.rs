//! Benchmarks of hodei-worker; run by `cargo xtask bench`.
