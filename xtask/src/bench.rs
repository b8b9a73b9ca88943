//! `bench`: the measurements, with the parts and the peers that they compare with.

use crate::failure::{Failure, Result};
use crate::lock::Lock;
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
    let mut command = run::cargo(site);
    // The measurements are the binary that has the package's name.
    command.args(["run", "--quiet", "--release", "--package", PACKAGE, "--"]).args(arguments);
    command.envs(running.environment()).envs(test::environment(site));
    let status = run::stream(&mut command, |line| println!("{line}"))?;
    running.stop()?;
    sweep::ours(site, "which outlived its measurement")?;
    if status.success() { Ok(()) } else { Err(Failure(format!("the measurements failed ({status})"))) }
}
