//! Each published crate packages.

use super::Ground;
use crate::failure::{Failure, Result};
use crate::run;

pub(super) fn check(ground: &Ground<'_>) -> Result<String> {
    let mut command = run::cargo(ground.site);
    // Not verified one by one: the consumer compiles them together.
    command.args(["package", "--quiet", "--workspace", "--no-verify", "--allow-dirty"]);
    for package in ground.packages.iter().filter(|package| !package.publishable) {
        command.args(["--exclude", &package.name]);
    }
    run::output(&mut command)?;
    let mut packed = Vec::new();
    for package in ground.publishable() {
        let file =
            ground.site.cargo_target.join(format!("package/{}-{}.crate", package.name, package.version));
        if !file.exists() {
            return Err(Failure(format!("cargo made no {}", file.display())));
        }
        packed.push(package.name.as_str());
    }
    Ok(packed.join(", "))
}
