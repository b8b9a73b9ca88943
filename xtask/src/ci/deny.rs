//! Licences, sources, doubles and advisories of the dependencies, where cargo-deny is installed.

use super::Ground;
use crate::failure::Result;
use crate::run;

pub(super) fn check(ground: &Ground<'_>) -> Result<String> {
    let deny = |arguments: &[&str]| {
        run::output(run::cargo(ground.site).args(["deny", "--all-features"]).args(arguments))
    };
    if deny(&["--version"]).is_err() {
        return Ok("not checked: cargo-deny is not installed".to_owned());
    }
    deny(&["check", "licenses", "bans", "sources"])?;
    // A machine without a way to the advisories can still check the rest.
    if deny(&["fetch", "db"]).is_err() {
        return Ok("without advisories: their database cannot be fetched from here".to_owned());
    }
    deny(&["check", "advisories"]).map(|_| String::new())
}
