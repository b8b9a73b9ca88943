//! Licences, advisories, sources and doubles of the dependencies, where cargo-deny is installed.

use super::Ground;
use crate::failure::Result;
use crate::run;

pub(super) fn check(ground: &Ground<'_>) -> Result<String> {
    if run::output(run::cargo(ground.site).args(["deny", "--version"])).is_err() {
        return Ok("not checked: cargo-deny is not installed".to_owned());
    }
    run::output(run::cargo(ground.site).args(["deny", "--all-features", "check"])).map(|_| String::new())
}
