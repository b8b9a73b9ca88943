//! A crate outside the workspace compiles against what would be published.

use std::fs;
use std::process::Command;

use super::Ground;
use crate::failure::{Context, Result};
use crate::packages::FACADE;
use crate::run;

/// What such a crate does first.
const MAIN: &str = include_str!("../../consumer/main.rs");

pub(super) fn check(ground: &Ground<'_>) -> Result<String> {
    let folder = ground.site.work.join("consumer");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("src"))?;
    let (mut patches, mut members) = (String::new(), Vec::new());
    let mut facade = "*";
    for package in ground.publishable() {
        let name = format!("{}-{}", package.name, package.version);
        let archive = ground.site.cargo_target.join(format!("package/{name}.crate"));
        run::output(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&folder))
            .context("unpacking")?;
        patches.push_str(&format!("{} = {{ path = \"{name}\" }}\n", package.name));
        members.push(format!("\"{name}\""));
        if package.name == FACADE {
            facade = &package.version;
        }
    }
    let features: Vec<_> = ground
        .packages
        .iter()
        .filter(|package| package.name == FACADE)
        .flat_map(|package| package.features.iter().map(|feature| format!("\"{feature}\"")))
        .collect();
    let manifest = format!(
        "[package]\nname = \"consumer\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{FACADE} = {{ version = \"{facade}\", features = [{}] }}\n\
         tokio = {{ version = \"1\", features = [\"macros\", \"rt\"] }}\n\n\
         [workspace]\nmembers = [{}]\n\n[patch.crates-io]\n{patches}",
        features.join(", "),
        members.join(", ")
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(folder.join("src/main.rs"), MAIN)?;
    // The same versions as ours, so that what is compiled already serves here too.
    fs::copy(ground.site.root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    // The packages' own programs, too: nobody else compiles them as they are published.
    let mut command = run::cargo(ground.site);
    command.current_dir(&folder).args(["check", "--quiet", "--workspace", "--lib", "--bins"]);
    run::output(&mut command).map(|_| String::new())
}
