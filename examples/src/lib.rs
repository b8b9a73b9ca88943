//! Runnable examples of hodei-worker; see the `examples` folder.
