//! The code is formatted, and clippy has nothing to say.

use super::Ground;
use crate::failure::Result;
use crate::run;

pub(super) fn fmt(ground: &Ground<'_>) -> Result<String> {
    run::output(run::cargo(ground.site).args(["fmt", "--all", "--check", "--", "--color=never"]))
        .map(|_| String::new())
}

pub(super) fn clippy(ground: &Ground<'_>) -> Result<String> {
    let mut command = run::cargo(ground.site);
    command.args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ]);
    run::output(&mut command).map(|_| String::new())
}
