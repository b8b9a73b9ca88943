//! The workspace's packages, as cargo knows them.

use serde_json::Value;

use crate::failure::{Context, Failure, Result};
use crate::run;
use crate::site::Site;

/// Where the vocabulary lives: its tests always run.
pub(crate) const CORE: &str = "hodei-worker-core";
/// What a host application depends on.
pub(crate) const FACADE: &str = "hodei-worker";

#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) features: Vec<String>,
    pub(crate) publishable: bool,
    pub(crate) library: bool,
    /// What its manifest names, for whatever target, tests included.
    pub(crate) dependencies: Vec<String>,
    /// Whether docs.rs is told to show all of it.
    pub(crate) shown_whole: bool,
}

/// Every member of the workspace.
pub(crate) fn all(site: &Site) -> Result<Vec<Package>> {
    let text = run::output(run::cargo(site).args(["metadata", "--format-version=1", "--no-deps"]))?;
    parse(&text)
}

fn parse(metadata: &str) -> Result<Vec<Package>> {
    let value: Value = serde_json::from_str(metadata).context("cargo metadata")?;
    let list =
        value["packages"].as_array().ok_or_else(|| Failure::new("cargo metadata names no packages"))?;
    let mut packages: Vec<_> = list
        .iter()
        .map(|package| Package {
            name: package["name"].as_str().unwrap_or_default().to_owned(),
            version: package["version"].as_str().unwrap_or_default().to_owned(),
            features: package["features"]
                .as_object()
                .map(|features| features.keys().filter(|name| *name != "default").cloned().collect())
                .unwrap_or_default(),
            // `publish = false` is an empty list here.
            publishable: package["publish"].as_array().is_none_or(|list| !list.is_empty()),
            dependencies: package["dependencies"]
                .as_array()
                .map(|list| list.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect())
                .unwrap_or_default(),
            shown_whole: package["metadata"]["docs"]["rs"]["all-features"] == true,
            library: package["targets"]
                .as_array()
                .is_some_and(|targets| targets.iter().any(|target| target["kind"][0] == "lib")),
        })
        .collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

/// The packages that the user's names mean; with none, all of them.
pub(crate) fn choose(packages: &[Package], only: &[String]) -> Result<Vec<String>> {
    let names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
    if only.is_empty() {
        return Ok(names.into_iter().map(str::to_owned).collect());
    }
    let mut chosen = vec![CORE.to_owned()];
    for word in only {
        let name = match word.as_str() {
            // The fake lives in core.
            "fake" | "core" => CORE.to_owned(),
            "facade" => FACADE.to_owned(),
            word => {
                let full = [word.to_owned(), format!("hodei-worker-{word}"), format!("hodei-{word}")];
                full.into_iter().find(|name| names.contains(&name.as_str())).ok_or_else(|| {
                    Failure(format!("--only: no package `{word}`; there are {}", names.join(", ")))
                })?
            }
        };
        if !chosen.contains(&name) {
            chosen.push(name);
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"packages":[
        {"name":"xtask","version":"0.1.0","features":{},"publish":[],"targets":[{"kind":["bin"]}]},
        {"name":"hodei-worker-core","version":"0.1.0","features":{"testkit":[],"default":[]},"publish":null,"targets":[{"kind":["lib"]}]},
        {"name":"hodei-worker-docker","version":"0.1.0","features":{},"publish":null,"targets":[{"kind":["lib"]}]}]}"#;

    #[test]
    fn packages_are_read_with_what_the_rules_ask_of_them() {
        let packages = parse(METADATA).unwrap();
        assert_eq!(packages[0].features, ["testkit"]);
        assert!(packages[0].publishable && packages[0].library);
        assert!(!packages[2].publishable && !packages[2].library);
    }

    #[test]
    fn a_short_name_means_a_package_and_core_is_always_among_them() {
        let packages = parse(METADATA).unwrap();
        assert_eq!(
            choose(&packages, &["docker".into()]).unwrap(),
            ["hodei-worker-core", "hodei-worker-docker"]
        );
        assert_eq!(choose(&packages, &["fake".into()]).unwrap(), ["hodei-worker-core"]);
        assert_eq!(choose(&packages, &[]).unwrap().len(), 3);
        let error = choose(&packages, &["dockr".into()]).unwrap_err();
        assert!(error.0.contains("hodei-worker-docker"), "{error}");
    }
}
