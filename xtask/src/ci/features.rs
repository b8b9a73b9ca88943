//! Each feature compiles by itself, and so does none.

use super::Ground;
use crate::failure::{Failure, Result};
use crate::run;

pub(super) fn check(ground: &Ground<'_>) -> Result<String> {
    let (mut broken, mut count) = (Vec::new(), 0);
    for package in ground.libraries() {
        for feature in std::iter::once("").chain(package.features.iter().map(String::as_str)) {
            let mut command = run::cargo(ground.site);
            command.args(["check", "--quiet", "--package", &package.name, "--no-default-features"]);
            command.args(["--features", feature]);
            count += 1;
            if let Err(error) = run::output(&mut command) {
                broken.push(format!("{} with `{feature}` alone: {error}", package.name));
            }
        }
    }
    if broken.is_empty() { Ok(format!("{count} combinations")) } else { Err(Failure(broken.join("\n"))) }
}
