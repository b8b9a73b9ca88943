use crate::{Project, ProjectOptions};

fn read(text: &str) -> Result<serde_json::Value, hodei_worker_core::Error> {
    Ok(Project::parse(text, &ProjectOptions::new().project_name("p"))?.to_value()["services"]["a"].clone())
}

/// The service `a` of two documents, of which the second is laid over the first.
fn merged(base: &str, over: &str) -> serde_json::Value {
    read(&format!("services:\n  a: {{image: x, {base}}}\n---\nservices:\n  a: {over}\n")).unwrap()
}

#[test]
fn mappings_are_merged_and_lists_joined() {
    let a = merged("environment: {A: 1, B: 2}, cap_add: [X]", "{environment: [B=3, C], cap_add: [Y]}");
    assert_eq!(a["environment"], serde_json::json!({"A": "1", "B": "3", "C": null}));
    assert_eq!(a["cap_add"], serde_json::json!(["X", "Y"]));
}

#[test]
fn some_fields_are_replaced() {
    let a = merged("command: [a, b], healthcheck: {test: [CMD, x]}", "{command: c, healthcheck: {test: y}}");
    assert_eq!(a["command"], serde_json::json!(["c"]));
    assert_eq!(a["healthcheck"]["test"], serde_json::json!(["CMD-SHELL", "y"]));
}

#[test]
fn mounts_and_ports_are_told_apart_by_their_targets() {
    let a = merged("volumes: [./a:/x, ./b:/y], ports: ['1:1']", "{volumes: [./c:/x], ports: ['1:1', '2:2']}");
    let targets: Vec<&str> =
        a["volumes"].as_array().unwrap().iter().filter_map(|v| v["target"].as_str()).collect();
    assert_eq!(targets, ["/x", "/y"]);
    assert!(a["volumes"][0]["source"].as_str().unwrap().ends_with("/c"));
    assert_eq!(a["ports"].as_array().map(Vec::len), Some(2));
}

#[test]
fn options_of_another_driver_are_dropped() {
    let base = "logging: {driver: json-file, options: {max-size: 1m}}";
    assert_eq!(
        merged(base, "{logging: {driver: syslog}}")["logging"],
        serde_json::json!({"driver": "syslog"})
    );
    let kept = merged(base, "{logging: {options: {max-file: 2}}}");
    assert_eq!(kept["logging"]["options"], serde_json::json!({"max-size": "1m", "max-file": "2"}));
}

#[test]
fn tags_reset_and_override() {
    let a = merged("ports: ['1:1'], user: u", "{ports: !override ['2:2'], user: !reset null}");
    assert_eq!(a["ports"].as_array().map(Vec::len), Some(1));
    assert_eq!(a["ports"][0]["published"], "2");
    assert!(a.get("user").is_none());
}

#[test]
fn what_cannot_be_merged_names_both_places() {
    let error = read("services:\n  a: {image: x, ports: ['1']}\n---\nservices:\n  a:\n    ports: {b: 1}\n")
        .unwrap_err();
    assert_eq!(error.context_value("line"), Some("6"));
    assert!(error.message().contains("compose.yaml:2"), "{error}");
    assert!(error.help().is_some());
}
