//! The cases, by topic. Each is named by the id of the specification that it proves.

mod cancel;
mod capabilities;
mod config;
mod create;
mod delete;
mod exec;
mod exits;
mod hosts;
mod list;
mod logs;
mod ownership;
mod ports;
mod resources;
mod scale;
mod secrets;
mod start;
mod stop;
mod watch;

pub(super) use super::context::{
    CaseContext, CaseFailure, CaseResult, PATIENCE, check, check_eq, fails_with,
};
pub(super) use super::{Program, eventually, polled, run::Case};
pub(super) use capabilities::refused;

/// Lists the cases of a topic: the name of its function, and the capabilities that it needs.
macro_rules! cases {
    ($($name:ident [$($capability:ident),*];)+) => {
        pub(super) fn all() -> Vec<$crate::testkit::cases::Case> {
            vec![$(
                $crate::testkit::cases::Case {
                    id: stringify!($name),
                    needs: &[$($crate::capability::Capability::$capability),*],
                    run: |context| Box::pin($name(context)),
                },
            )+]
        }
    };
}
use cases;

pub(super) fn all() -> Vec<Case> {
    let topics = [
        create::all,
        start::all,
        stop::all,
        delete::all,
        exits::all,
        config::all,
        secrets::all,
        list::all,
        ownership::all,
        hosts::all,
        watch::all,
        logs::all,
        exec::all,
        ports::all,
        resources::all,
        scale::all,
        cancel::all,
        capabilities::all,
    ];
    topics.into_iter().flat_map(|topic| topic()).collect()
}
