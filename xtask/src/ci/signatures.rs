//! No type of another's crate stands in a public signature, but those that are our vocabulary.

use std::fs;

use serde_json::Value;

use super::{Ground, docs};
use crate::failure::{Context, Failure, Result};
use crate::run;

/// Crates whose types are the language of our port. An SDK never joins them.
const VOCABULARY: [&str; 18] = [
    "core",
    "alloc",
    "std",
    "async_trait",
    "bytes",
    "futures",
    "futures_core",
    "futures_util",
    "jiff",
    "libtest_mimic",
    "metrics",
    "secrecy",
    "serde",
    "serde_core",
    "serde_json",
    "tokio",
    "tracing",
    "tracing_core",
];
/// The one documented way out to an SDK that each provider may offer.
const ESCAPE: &str = "client";

pub(super) fn check(ground: &Ground<'_>) -> Result<String> {
    let mut broken = Vec::new();
    let mut count = 0;
    for package in ground.packages.iter().filter(|package| package.publishable && package.library) {
        let mut command = run::cargo(ground.site);
        command.args(["rustdoc", "--quiet", "--lib", "--all-features", "--package", &package.name]);
        command.args(["--", "-Zunstable-options", "--output-format=json"]);
        run::output(command.env("RUSTDOC", docs::unlocked(ground)?))?;
        let file = ground.site.cargo_target.join(format!("doc/{}.json", package.name.replace('-', "_")));
        let text = fs::read(&file).context(format_args!("reading {}", file.display()))?;
        let documentation: Value = serde_json::from_slice(&text).context(file.display())?;
        let (items, found) = leaks(&documentation)?;
        count += items;
        broken.extend(found.into_iter().map(|leak| format!("{}: {leak}", package.name)));
    }
    if broken.is_empty() { Ok(format!("{count} public items")) } else { Err(Failure(broken.join("\n"))) }
}

/// How many items were looked at, and those that show a type of another's crate.
fn leaks(documentation: &Value) -> Result<(usize, Vec<String>)> {
    let index =
        documentation["index"].as_object().ok_or_else(|| Failure::new("rustdoc's JSON has no index"))?;
    let mut found = Vec::new();
    let mut count = 0;
    for item in index.values().filter(|item| item["crate_id"] == 0) {
        let inner = &item["inner"];
        // What other crates give to every type there is, nobody wrote here.
        let given = !inner["impl"]["blanket_impl"].is_null() || inner["impl"]["is_synthetic"] == true;
        if given || is_escape(item) {
            continue;
        }
        count += 1;
        let mut ids = Vec::new();
        type_ids(inner, &mut ids);
        for id in ids {
            let Some((krate, path)) = origin(documentation, id) else { continue };
            if !is_ours(&krate) {
                found.push(format!("{} shows {path}", describe(item)));
            }
        }
    }
    found.sort();
    found.dedup();
    Ok((count, found))
}

/// A function of that name which says what it is.
fn is_escape(item: &Value) -> bool {
    let documented = item["docs"].as_str().is_some_and(|docs| !docs.trim().is_empty());
    item["name"] == ESCAPE && documented && item["inner"].get("function").is_some()
}

/// The ids that types, traits and re-exports refer to: wherever a path and an id stand together.
fn type_ids<'a>(value: &'a Value, ids: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            if fields.contains_key("id")
                && ["path", "name", "source"].iter().any(|name| fields.contains_key(*name))
            {
                ids.push(&fields["id"]);
            }
            fields.values().for_each(|value| type_ids(value, ids));
        }
        Value::Array(values) => values.iter().for_each(|value| type_ids(value, ids)),
        _ => {}
    }
}

/// The crate that an id comes from, and its whole path.
fn origin(documentation: &Value, id: &Value) -> Option<(String, String)> {
    let summary = documentation["paths"].get(id.as_u64()?.to_string())?;
    let number = summary["crate_id"].as_u64()?;
    if number == 0 {
        return None;
    }
    let krate = documentation["external_crates"][number.to_string()]["name"].as_str()?.to_owned();
    let path: Vec<_> = summary["path"].as_array()?.iter().filter_map(Value::as_str).collect();
    Some((krate, path.join("::")))
}

fn is_ours(krate: &str) -> bool {
    krate.starts_with("hodei_") || VOCABULARY.contains(&krate)
}

fn describe(item: &Value) -> String {
    let kind = item["inner"].as_object().and_then(|inner| inner.keys().next()).map_or("item", String::as_str);
    let name = item["name"].as_str().unwrap_or("of no name");
    let file = item["span"]["filename"].as_str().unwrap_or("?");
    format!("{kind} {name} ({file}:{})", item["span"]["begin"][0])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn documentation(item: Value) -> Value {
        json!({
            "index": { "1": item },
            "paths": { "9": { "crate_id": 5, "path": ["bollard", "Docker"] }, "8": { "crate_id": 6, "path": ["std", "S"] } },
            "external_crates": { "5": { "name": "bollard" }, "6": { "name": "std" } },
        })
    }

    fn function(name: &str, id: u64, docs: &str) -> Value {
        let output = json!({ "borrowed_ref": { "type": { "resolved_path": { "path": "D", "id": id, "args": null } } } });
        json!({ "crate_id": 0, "name": name, "docs": docs, "inner": { "function": { "sig": { "output": output } } },
                "span": { "filename": "lib.rs", "begin": [3, 1] } })
    }

    #[test]
    fn an_sdk_type_behind_a_reference_is_found() {
        let (count, found) = leaks(&documentation(function("engine", 9, ""))).unwrap();
        assert_eq!(count, 1);
        assert_eq!(found, ["function engine (lib.rs:3) shows bollard::Docker"]);
        assert!(leaks(&documentation(function("engine", 8, ""))).unwrap().1.is_empty());
    }

    #[test]
    fn the_escape_hatch_needs_its_name_and_its_documentation() {
        assert!(
            leaks(&documentation(function("client", 9, "The engine's own client."))).unwrap().1.is_empty()
        );
        assert_eq!(leaks(&documentation(function("client", 9, ""))).unwrap().1.len(), 1);
    }

    #[test]
    fn what_is_given_to_every_type_is_not_ours() {
        let blanket = json!({ "crate_id": 0, "name": null, "inner": { "impl": {
            "trait": { "path": "T", "id": 9 }, "blanket_impl": { "generic": "T" }, "is_synthetic": false } } });
        assert!(leaks(&documentation(blanket)).unwrap().1.is_empty());
        let own = json!({ "crate_id": 0, "name": null, "inner": { "impl": {
            "trait": { "path": "T", "id": 9 }, "blanket_impl": null, "is_synthetic": false } } });
        assert_eq!(leaks(&documentation(own)).unwrap().1.len(), 1);
    }
}
