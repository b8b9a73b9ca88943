//! The cases, by topic. Each is named by the id of the specification that it proves.

mod append;
mod compact;

mod durable;
mod leases;
mod log;
mod snapshots;
mod state;
mod take_over;
mod together;

pub(super) use super::context::{Hand, StoreContext, event, events, texts, worker};
pub(super) use super::run::Case;
pub(super) use crate::testkit::context::{CaseFailure, CaseResult, PATIENCE, check, check_eq, fails_with};

/// Lists the cases of a topic: the names of their functions.
macro_rules! cases {
    ($($name:ident;)+) => {
        pub(super) fn all() -> Vec<$crate::testkit::stores::cases::Case> {
            vec![$(
                $crate::testkit::stores::cases::Case {
                    id: stringify!($name),
                    run: |context| Box::pin($name(context)),
                },
            )+]
        }
    };
}
use cases;

pub(super) fn all() -> Vec<Case> {
    let topics = [
        append::all,
        log::all,
        state::all,
        snapshots::all,
        compact::all,
        together::all,
        durable::all,
        leases::all,
        take_over::all,
    ];
    topics.into_iter().flat_map(|topic| topic()).collect()
}
