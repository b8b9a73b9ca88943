//! What happens to workers, told to whoever wants to know.
//!
//! - [`EventBus::subscribe`] gives what happens from now on, from memory. Nobody waits for a slow reader: it loses the
//!   oldest of what it has not read, and is told which positions of the log those had.
//! - [`EventBus::replay`] gives what happened since a position of the log and then goes on with what happens, without a
//!   gap and without a double, in the log's order. A slow reader reads from the store what it missed.
//!
//! Any number may listen to all workers or to some. Who listens to one worker costs nothing when something happens to
//! another.
//!
//! # Examples
//! ```
//! use futures::StreamExt as _;
//! use hodei_worker::events::{EventBus, EventFilter, Notice};
//! # async fn example(bus: EventBus) -> hodei_worker::Result<()> {
//! let mut news = bus.subscribe(EventFilter::worker("build-1".parse()?));
//! while let Some(notice) = news.next().await {
//!     match notice {
//!         Notice::Event(event) => println!("{}: {}", event.worker_id, event.event_type()),
//!         Notice::Missed { from, through } => println!("too slow for {from} to {through}"),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```

mod bus;
mod filter;
mod listener;
mod replay;
mod settings;
mod tail;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hodei_worker_core::WorkerStateEvent;

pub use bus::{BusLag, EventBus};
pub use filter::EventFilter;
pub use listener::Subscription;
pub use settings::EventSettings;

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// Something happened to a worker.
    Event(Arc<WorkerStateEvent>),
    /// The subscriber was too slow: events that it asked for, from that position of the log through that, were dropped,
    /// and what is told next comes after them. Those in between that it gets were not among them. They are in the store:
    /// [`EventBus::replay`].
    Missed {
        /// The position of the first that was dropped.
        from: u64,
        /// The position of the last.
        through: u64,
    },
    /// Only in a replay: some of what was asked for is not in the store any more. What is told next begins there.
    Compacted {
        /// The first position that there is.
        first: u64,
    },
}

impl Notice {
    /// The event, if it is one.
    pub fn event(&self) -> Option<&Arc<WorkerStateEvent>> {
        match self {
            Self::Event(event) => Some(event),
            _ => None,
        }
    }
}
