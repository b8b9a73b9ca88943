//! `ci`: the rules of the house, a file each.

mod consumer;
mod deny;
mod directions;
mod docs;
mod features;
mod lint;
mod package;
mod signatures;
mod size;

use std::time::Instant;

use crate::failure::{Failure, Result};
use crate::lock::Lock;
use crate::packages::{self, Package};
use crate::site::Site;
use crate::{stop, target};

/// What a rule looks at.
#[derive(Debug)]
struct Ground<'a> {
    site: &'a Site,
    packages: Vec<Package>,
}

impl Ground<'_> {
    fn libraries(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.library)
    }

    fn publishable(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.publishable)
    }
}

/// One rule: a remark when it holds, the reason when it does not.
struct Rule {
    name: &'static str,
    /// Quick enough for every test run.
    cheap: bool,
    check: fn(&Ground<'_>) -> Result<String>,
}

const RULES: [Rule; 11] = [
    Rule { name: "fmt", cheap: true, check: lint::fmt },
    Rule { name: "size", cheap: true, check: size::check },
    Rule { name: "directions", cheap: true, check: directions::check },
    Rule { name: "signatures", cheap: false, check: signatures::check },
    Rule { name: "clippy", cheap: false, check: lint::clippy },
    Rule { name: "features", cheap: false, check: features::check },
    Rule { name: "docs", cheap: false, check: docs::check },
    Rule { name: "docs.rs", cheap: false, check: docs::docs_rs },
    Rule { name: "package", cheap: false, check: package::check },
    // After `package`: it compiles what that made.
    Rule { name: "consumer", cheap: false, check: consumer::check },
    Rule { name: "deny", cheap: false, check: deny::check },
];

/// Checks the named rules, or all.
pub(crate) fn run(site: &Site, names: &[String]) -> Result<()> {
    if let Some(name) = names.iter().find(|name| RULES.iter().all(|rule| rule.name != name.as_str())) {
        let known: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        return Err(Failure(format!("no rule `{name}`; there are {}", known.join(", "))));
    }
    // A folder of one's own needs no lock: no part is touched here.
    let _lock = site.shares_target().then(|| Lock::take(site, "ci")).transpose()?;
    target::claim(site)?;
    let broken = check(site, |rule| names.is_empty() || names.iter().any(|name| name == rule.name))?;
    if broken.is_empty() { Ok(()) } else { Err(Failure(broken.join("\n"))) }
}

/// Checks every rule; gives those that are broken.
pub(crate) fn all(site: &Site) -> Result<Vec<String>> {
    check(site, |_| true)
}

/// Checks the rules that take seconds; gives those that are broken.
pub(crate) fn cheap(site: &Site) -> Result<Vec<String>> {
    check(site, |rule| rule.cheap)
}

fn check(site: &Site, chosen: impl Fn(&Rule) -> bool) -> Result<Vec<String>> {
    site.prepare_work()?;
    let ground = Ground { site, packages: packages::all(site)? };
    let mut broken = Vec::new();
    println!("\nrules");
    for rule in RULES.iter().filter(|rule| chosen(rule)) {
        stop::check()?;
        let since = Instant::now();
        let outcome = (rule.check)(&ground);
        let took = since.elapsed().as_secs_f32();
        match outcome {
            Ok(remark) => println!("  {:<11} ok      {took:>6.1} s  {remark}", rule.name),
            Err(error) => {
                println!("  {:<11} FAILED  {took:>6.1} s\n{error}", rule.name);
                broken.push(format!("rule {} is broken", rule.name));
            }
        }
    }
    Ok(broken)
}
