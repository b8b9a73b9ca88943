//! The manager on real providers: each case on local processes, and on a Docker Engine where one is named.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod adoption;
mod bed;
mod care;
#[cfg(feature = "postgres")]
mod hosts;
mod life;
mod recovery;
mod telling;

use std::{process::ExitCode, sync::Arc, time::Duration};

use bed::{Bed, Place};
use libtest_mimic::{Arguments, Failed, Trial};

/// Time after which a case that hangs is given up.
const PATIENCE: Duration = Duration::from_secs(60);

type Case = (&'static str, fn(Arc<Bed>) -> futures::future::BoxFuture<'static, ()>);

/// Makes a case of an async function.
#[macro_export]
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CASES: &[$crate::Case] = &[$((stringify!($name), |bed| Box::pin($name(bed)))),*];
    };
}

fn main() -> ExitCode {
    hodei_worker::process::init();
    let arguments = Arguments::from_args();
    let places = [Place::Process, Place::Docker];
    let cases =
        || [life::CASES, adoption::CASES, recovery::CASES, care::CASES, telling::CASES].into_iter().flatten();
    let trials = places
        .into_iter()
        .flat_map(|place| {
            cases().map(move |(name, case)| trial(place, place.name(), place.absent(), name, *case))
        })
        .chain(on_docker())
        .chain(shared())
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The cases that only an engine can have.
fn on_docker() -> impl Iterator<Item = Trial> {
    let place = Place::Docker;
    telling::DOCKER.iter().map(move |(name, case)| trial(place, place.name(), place.absent(), name, *case))
}

/// The cases of several hosts, whose workers are processes and whose store is PostgreSQL.
#[cfg(feature = "postgres")]
fn shared() -> impl Iterator<Item = Trial> {
    let absent = std::env::var("HODEI_TEST_POSTGRES").is_err();
    hosts::CASES.iter().map(move |(name, case)| trial(Place::Process, "postgres", absent, name, *case))
}

#[cfg(not(feature = "postgres"))]
fn shared() -> impl Iterator<Item = Trial> {
    std::iter::empty()
}

fn trial(
    place: Place,
    part: &str,
    absent: bool,
    name: &str,
    case: fn(Arc<Bed>) -> futures::future::BoxFuture<'static, ()>,
) -> Trial {
    let trial = Trial::test(format!("{name}::{part}"), move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let bed = Arc::new(Bed::new(place));
            let run = tokio::spawn(case(Arc::clone(&bed)));
            let ended = tokio::time::timeout(PATIENCE, run).await;
            bed.clean().await;
            #[cfg(feature = "postgres")]
            hosts::clean(&bed).await;
            match ended {
                Err(_) => Err(Failed::from(format!("not over after {PATIENCE:?}"))),
                Ok(Err(panic)) => Err(Failed::from(bed::words(panic))),
                Ok(Ok(())) => Ok(()),
            }
        })
    });
    trial.with_ignored_flag(absent)
}
