//! Logs: byte for byte, over all runs, and followed across restarts of the worker and of the engine.

mod frames;
mod mend;
mod position;
mod read;
mod saved;
mod tail;
mod witness;
