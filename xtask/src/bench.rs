//! `bench`: the measurements, with the parts and the peers that they compare with.

use crate::failure::{Failure, Result};
use crate::lock::Lock;
use crate::parts::Running;
use crate::site::Site;
use crate::tools::apt;
use crate::{parts, run, scratch, sweep, target, test};

const PACKAGE: &str = "hodei-worker-benches";

pub(crate) fn run(site: &Site, arguments: &[String]) -> Result<()> {
    let _lock = Lock::take(site, "bench")?;
    sweep::leftovers(site)?;
    site.prepare()?;
    scratch::prepare(site)?;
    target::claim(site)?;
    // What is not there is not compared with; the measurements say so themselves.
    if let Err(error) = apt::install(&[("s6-svscan", "s6"), ("runsvdir", "runit")]) {
        println!("the peers s6 and runit are not there: {error}");
    }
    let mut running = parts::up(site, &parts::needed(&[PACKAGE.to_owned()]));
    for (name, error) in running.absent() {
        println!("{name} is not there: {error}");
    }
    // All of its binaries: the measurements start others of them.
    run::output(run::cargo(site).args(["build", "--release", "--package", PACKAGE, "--bins"]))?;
    let mut failed = measure(site, arguments, &running, None)?;
    for presence in running.presences.iter().filter(|presence| presence.version.is_ok()) {
        let Some(other) = parts::find(presence.name).and_then(|part| part.stands_in_for()) else { continue };
        println!("\nwhat is measured on {other} once more, on {}", presence.name);
        failed |= measure(site, arguments, &running, Some(presence.name))?;
    }
    running.stop()?;
    sweep::ours(site, "which outlived its measurement")?;
    if failed { Err(Failure::new("some measurements failed")) } else { Ok(()) }
}

/// Runs the measurements, or those alone that another part can stand in for. Says whether one failed.
fn measure(site: &Site, arguments: &[String], running: &Running<'_>, part: Option<&str>) -> Result<bool> {
    let mut command = run::cargo(site);
    // The measurements are the binary that has the package's name.
    command.args(["run", "--quiet", "--release", "--package", PACKAGE, "--"]).args(arguments);
    command.envs(running.environment()).envs(test::environment(site));
    if let Some(part) = part {
        command.arg("--once-more").env("HODEI_BENCH_ON", part).envs(running.environment_of(part));
    }
    Ok(!run::stream(&mut command, |line| println!("{line}"))?.success())
}
