//! Workers as containers of a Docker Engine: a provider of hodei-worker.
