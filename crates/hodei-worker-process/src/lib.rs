//! Workers as local processes that outlive their host: the embedded default provider of hodei-worker.
