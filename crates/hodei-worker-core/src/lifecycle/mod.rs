//! The life of a worker as a pure state machine over its events.
//!
//! [`decide`] looks at a [`Worker`], at what happened ([`Input`]: a command, an observation, an outcome, a time that has
//! come) and at its [`Context`], and says which [`Change`]s that makes and which [`Call`] of a provider follows. It
//! knows no time but the one that it is given, and no `async`. Whoever drives it makes the changes durable first and acts
//! after: the fold of the changes ([`Worker::apply`]) is all that there is to know, and a host that was killed
//! between the two finds the intent in the fold and makes the call again.
//!
//! # States
#![doc = include_str!("states.md")]

mod change;
mod codec;
mod decide;
mod event;
mod input;
pub mod recovery;
mod state;
#[cfg(test)]
mod tests;
mod worker;

pub use change::{Change, DegradedBy, EventType, Pending, RunEnd, Traits};
pub use decide::{Context, Decision, decide, resume, transition};
pub use event::{CorrelationId, WorkerStateEvent};
pub use input::{Call, Command, HealthChange, Input, Outcome, OutcomeOf};
pub use recovery::{Escalation, RecoverySettings, Strategy};
pub use state::{Goal, WorkerState};
pub use worker::{Recovery, Worker};
