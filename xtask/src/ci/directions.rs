//! Dependencies point downwards: core knows no SDK, no provider knows another.

use super::Ground;
use crate::failure::{Failure, Result};
use crate::packages::{CORE, FACADE};
use crate::run;

/// SDKs, HTTP and TLS: what core and a default build have to do without. A `*` stands for any ending.
const HEAVY: [&str; 20] = [
    "bollard*",
    "kube",
    "kube-*",
    "k8s-openapi",
    "aws-*",
    "azure_*",
    "azure-*",
    "vaultrs*",
    "hyper",
    "hyper-*",
    "http",
    "http-body*",
    "reqwest",
    "rustls",
    "rustls-*",
    "tokio-rustls",
    "openssl*",
    "native-tls",
    "ring",
    "tonic*",
];

pub(super) fn check(ground: &Ground<'_>) -> Result<String> {
    let mut broken = Vec::new();
    let members: Vec<&str> = ground.publishable().map(|package| package.name.as_str()).collect();
    for package in ground.publishable() {
        // What tests need and what other systems build count as well.
        broken.extend(members_beyond(&package.name, &package.dependencies, &members));
    }
    for member in &members {
        let names = tree(ground, member, &["--all-features"])?;
        broken.extend(members_beyond(member, &names, &members));
        if *member == CORE {
            broken.extend(heavy(member, &names, "with all its features"));
        }
    }
    if members.contains(&FACADE) {
        let names = tree(ground, FACADE, &[])?;
        broken.extend(heavy(FACADE, &names, "with its default features"));
    }
    broken.sort();
    broken.dedup();
    if broken.is_empty() { Ok(format!("{} crates", members.len())) } else { Err(Failure(broken.join("\n"))) }
}

/// The names of everything that a package is built from.
fn tree(ground: &Ground<'_>, package: &str, features: &[&str]) -> Result<Vec<String>> {
    let mut command = run::cargo(ground.site);
    command.args([
        "tree",
        "--package",
        package,
        "--edges",
        "normal,build",
        "--target",
        "all",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    Ok(names(&run::output(command.args(features))?))
}

fn names(tree: &str) -> Vec<String> {
    let mut names: Vec<_> =
        tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// The members that a member may be built from; `None` for all.
fn allowed(member: &str) -> Option<&'static [&'static str]> {
    match member {
        FACADE => None,
        CORE => Some(&[]),
        "hodei-credentials" => Some(&[CORE, "hodei-worker-store"]),
        _ => Some(&[CORE]),
    }
}

fn members_beyond(member: &str, names: &[String], members: &[&str]) -> Vec<String> {
    let Some(allowed) = allowed(member) else { return Vec::new() };
    let others = names.iter().filter(|name| *name != member && members.contains(&name.as_str()));
    others
        .filter(|name| !allowed.contains(&name.as_str()))
        .map(|name| format!("{member} depends on {name}"))
        .collect()
}

fn heavy(member: &str, names: &[String], how: &str) -> Vec<String> {
    let is_heavy = |name: &&String| {
        HEAVY.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        })
    };
    names.iter().filter(is_heavy).map(|name| format!("{member} depends on {name} {how}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Site;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_are_read_from_the_tree() {
        let tree = "hodei-worker-core v0.1.0 (/w/crates/hodei-worker-core)\nserde v1.0.1\nserde v1.0.1 (*)\n";
        assert_eq!(names(tree), ["hodei-worker-core", "serde"]);
    }

    #[test]
    fn a_provider_that_knows_another_is_found() {
        let members = ["hodei-worker", "hodei-worker-core", "hodei-worker-docker", "hodei-worker-process"];
        let beyond = |member: &str, names: &[&str]| members_beyond(member, &list(names), &members);
        assert_eq!(
            beyond("hodei-worker-docker", &["hodei-worker-core", "hodei-worker-process", "serde"]),
            ["hodei-worker-docker depends on hodei-worker-process"]
        );
        assert_eq!(beyond(CORE, &[CORE, "hodei-worker"]), ["hodei-worker-core depends on hodei-worker"]);
        assert!(beyond(FACADE, &members).is_empty());
    }

    #[test]
    fn an_sdk_in_core_is_found_and_its_namesakes_are_not() {
        let found =
            heavy(CORE, &list(&["bollard-stubs", "hyper-util", "httparse", "ringbuf", "serde"]), "at all");
        assert_eq!(found.len(), 2, "{found:?}");
    }

    /// The workspace as it is, copied, with these lines added to a manifest.
    fn with_lines(folder: &std::path::Path, manifest: &str, lines: &str) -> Result<String> {
        let here = Site::find()?;
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)?;
        let mut copy = std::process::Command::new("cp");
        copy.arg("-r").current_dir(&here.root).args(["Cargo.toml", "Cargo.lock", "README.md"]);
        run::output(copy.args(["crates", "examples", "benches", "xtask"]).arg(folder))?;
        let manifest = folder.join(manifest);
        let text = std::fs::read_to_string(&manifest)?;
        let (header, line) = lines.split_once('\n').unwrap_or((lines, ""));
        let text = match text.contains(header) {
            true => text.replacen(header, lines, 1),
            false => format!("{text}\n{header}\n{line}\n"),
        };
        std::fs::write(&manifest, text)?;
        let site = Site { root: folder.to_owned(), ..here };
        check(&Ground { site: &site, packages: crate::packages::all(&site)? })
    }

    #[test]
    fn the_rule_fails_when_a_manifest_breaks_it_and_only_then() {
        let folder = std::env::temp_dir().join(format!("hodei-xtask-directions-{}", std::process::id()));
        let process = "crates/hodei-worker-process/Cargo.toml";
        let core = "crates/hodei-worker-core/Cargo.toml";
        let docker = "hodei-worker-docker.workspace = true";
        let mut outcomes = vec![with_lines(&folder, process, "")];
        for (manifest, lines) in [
            (process, format!("[dependencies]\n{docker}")),
            (process, format!("[target.'cfg(windows)'.dependencies]\n{docker}")),
            (process, format!("[dev-dependencies]\n{docker}")),
            (core, "[dependencies]\nhttp.workspace = true".to_owned()),
            (core, "[target.'cfg(windows)'.dependencies]\nhyper.workspace = true".to_owned()),
        ] {
            outcomes.push(with_lines(&folder, manifest, &lines));
        }
        std::fs::remove_dir_all(&folder).unwrap();
        let said: Vec<_> = outcomes.into_iter().map(|outcome| outcome.map_err(|error| error.0)).collect();
        assert_eq!(said[0], Ok("8 crates".to_owned()));
        for said in &said[1..4] {
            let said = said.as_ref().unwrap_err();
            assert!(said.ends_with("hodei-worker-process depends on hodei-worker-docker"), "{said}");
        }
        for (said, name) in said[4..].iter().zip(["http", "hyper"]) {
            let said = said.as_ref().unwrap_err();
            assert!(said.contains(&format!("hodei-worker-core depends on {name} ")), "{said}");
        }
    }
}
