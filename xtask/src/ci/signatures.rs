//! No type of another's crate stands in a public signature, but those that are our vocabulary.

use std::fs;

use serde_json::Value;

use super::{Ground, docs};
use crate::failure::{Context, Failure, Result};
use crate::packages::CORE;
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
/// The providers that offer it, and the SDK that it leads to.
const ESCAPES: [(&str, &str); 2] = [("hodei-worker-docker", "bollard"), ("hodei-worker-k8s", "kube_client")];
/// Files that hand something on to an SDK of the host's own, which they have to name.
const BRIDGES: [(&str, &str); 1] = [("src/telemetry/otel.rs", "opentelemetry")];
/// The ports, each of whose methods shows how it is used.
const PORTS: [&str; 2] = ["WorkerProvider", "CredentialProvider"];

pub(super) fn check(ground: &Ground<'_>) -> Result<String> {
    let mut broken = Vec::new();
    let mut count = 0;
    for package in ground.packages.iter().filter(|package| package.publishable && package.library) {
        let mut command = run::cargo(ground.site);
        command.args(["rustdoc", "--quiet", "--lib", "--all-features", "--package", &package.name]);
        command.args(["--", "-Zunstable-options", "--output-format=json", "--document-hidden-items"]);
        run::output(command.env("RUSTDOC", docs::unlocked(ground)?))?;
        let file = ground.site.cargo_target.join(format!("doc/{}.json", package.name.replace('-', "_")));
        let text = fs::read(&file).context(format_args!("reading {}", file.display()))?;
        let documentation: Value = serde_json::from_slice(&text).context(file.display())?;
        let escape = ESCAPES.iter().find(|(name, _)| *name == package.name).map(|(_, sdk)| *sdk);
        let (items, found) = leaks(&documentation, escape)?;
        if package.name == CORE {
            broken.extend(PORTS.iter().flat_map(|port| without_example(&documentation, port)));
        }
        count += items;
        broken.extend(found.into_iter().map(|leak| format!("{}: {leak}", package.name)));
    }
    if broken.is_empty() { Ok(format!("{count} public items")) } else { Err(Failure(broken.join("\n"))) }
}

/// How many items were looked at, and those that show a type of another's crate.
fn leaks(documentation: &Value, escape: Option<&str>) -> Result<(usize, Vec<String>)> {
    let index =
        documentation["index"].as_object().ok_or_else(|| Failure::new("rustdoc's JSON has no index"))?;
    let mut found = Vec::new();
    let mut count = 0;
    for item in index.values().filter(|item| item["crate_id"] == 0) {
        let inner = &item["inner"];
        // What other crates give to every type there is, nobody wrote here.
        let given = !inner["impl"]["blanket_impl"].is_null() || inner["impl"]["is_synthetic"] == true;
        if given {
            continue;
        }
        let way_out = escape.filter(|_| is_escape(item));
        count += 1;
        let mut ids = Vec::new();
        type_ids(inner, &mut ids);
        for id in ids {
            let Some((krate, path)) = origin(documentation, id) else { continue };
            if !is_ours(&krate) && way_out != Some(krate.as_str()) && !is_bridge(item, &krate) {
                found.push(format!("{} shows {path}", describe(item)));
            }
        }
    }
    found.sort();
    found.dedup();
    Ok((count, found))
}

/// The methods of a port whose documentation has no code; where there is no such port, that is the finding.
fn without_example(documentation: &Value, port: &str) -> Vec<String> {
    let index = &documentation["index"];
    let is_it =
        |item: &&Value| item["name"] == port && item["crate_id"] == 0 && !item["inner"]["trait"].is_null();
    let Some(found) = index.as_object().and_then(|index| index.values().find(is_it)) else {
        return vec![format!("there is no trait {port}")];
    };
    let items = found["inner"]["trait"]["items"].as_array().into_iter().flatten();
    let items = items.filter_map(|id| index.get(id.as_u64()?.to_string()));
    let silent = items.filter(|item| {
        !item["inner"]["function"].is_null()
            && !item["docs"].as_str().is_some_and(|docs| docs.contains("```"))
    });
    silent.map(|item| format!("{port}::{} has no example", item["name"].as_str().unwrap_or("?"))).collect()
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

/// Whether the item stands in a file whose purpose is to hand on to that SDK.
fn is_bridge(item: &Value, krate: &str) -> bool {
    let file = item["span"]["filename"].as_str().unwrap_or_default();
    BRIDGES.iter().any(|(bridge, sdk)| *sdk == krate && file.ends_with(bridge))
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
        let (count, found) = leaks(&documentation(function("engine", 9, "")), None).unwrap();
        assert_eq!(count, 1);
        assert_eq!(found, ["function engine (lib.rs:3) shows bollard::Docker"]);
        assert!(leaks(&documentation(function("engine", 8, "")), None).unwrap().1.is_empty());
    }

    #[test]
    fn the_escape_hatch_needs_its_name_and_its_documentation() {
        assert!(
            leaks(&documentation(function("client", 9, "The engine's own client.")), Some("bollard"))
                .unwrap()
                .1
                .is_empty()
        );
        assert_eq!(leaks(&documentation(function("client", 9, "")), Some("bollard")).unwrap().1.len(), 1);
    }

    #[test]
    fn the_escape_hatch_leads_to_the_sdk_of_its_provider_alone() {
        let client = documentation(function("client", 9, "The engine's own client."));
        assert_eq!(leaks(&client, None).unwrap().1.len(), 1);
        assert_eq!(leaks(&client, Some("kube")).unwrap().1.len(), 1);
    }

    #[test]
    fn a_method_of_a_port_without_an_example_is_found() {
        let method = |docs: &str| json!({ "name": "stop", "docs": docs, "inner": { "function": {} } });
        let port = |docs: &str| {
            let port = json!({ "name": "Port", "crate_id": 0, "inner": { "trait": { "items": [2] } } });
            json!({ "index": { "1": port, "2": method(docs) } })
        };
        assert!(without_example(&port("It stops.\n```\nstop()\n```"), "Port").is_empty());
        assert_eq!(without_example(&port("It stops."), "Port"), ["Port::stop has no example"]);
        assert_eq!(without_example(&port(""), "Other"), ["there is no trait Other"]);
    }

    #[test]
    fn what_is_given_to_every_type_is_not_ours() {
        let blanket = json!({ "crate_id": 0, "name": null, "inner": { "impl": {
            "trait": { "path": "T", "id": 9 }, "blanket_impl": { "generic": "T" }, "is_synthetic": false } } });
        assert!(leaks(&documentation(blanket), None).unwrap().1.is_empty());
        let own = json!({ "crate_id": 0, "name": null, "inner": { "impl": {
            "trait": { "path": "T", "id": 9 }, "blanket_impl": null, "is_synthetic": false } } });
        assert_eq!(leaks(&documentation(own), None).unwrap().1.len(), 1);
    }
}
