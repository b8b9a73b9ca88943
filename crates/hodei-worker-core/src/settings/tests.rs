use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Problems, read, read_validated};
use crate::{
    model::{HealthCheckConfig, MountSource, RestartPolicy, SecretReference, SecretTarget, WorkerConfig},
    quantity::HumanDuration,
};

fn told<T: DeserializeOwned>(value: Value) -> Vec<String> {
    read::<T>(&value).problems.iter().map(ToString::to_string).collect()
}

fn refused(value: Value) -> Vec<String> {
    let error = WorkerConfig::from_value(&value).unwrap_err();
    error.problems().unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn p5_a_field_whose_name_begins_like_another_hides_nothing() {
    let problems = refused(json!({"worker_id": "a", "command": ["x"], "health_checks": [
        {"probe": "native", "interval": "1s", "timeout": "2s", "timeoutt": "1s"},
    ]}));
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].starts_with("health_checks[0].timeoutt: unknown field"), "{problems:#?}");
    assert!(problems[1].starts_with("health_checks[0].timeout: 2s is longer"), "{problems:#?}");
}

#[test]
fn p5_an_entry_that_is_wrong_hides_no_other() {
    let problems = refused(
        json!({"worker_id": "a", "command": ["x"], "environment": {"A": 5, "B=C": "x", "A.B": "\0"}}),
    );
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(problems[0].starts_with("environment.A: a number"), "{problems:#?}");
    assert!(problems.iter().any(|problem| problem.contains("`B=C`")), "{problems:#?}");
    assert!(problems.iter().any(|problem| problem.starts_with("environment.A.B: ")), "{problems:#?}");
}

#[test]
fn p5_items_keep_their_numbers_when_one_is_left_out() {
    let problems = refused(json!({"worker_id": "a", "command": ["x"], "health_checks": [
        {"probe": "nativ"},
        {"probe": "native", "interval": "1s", "timeout": "2s"},
    ]}));
    assert!(
        problems.iter().any(|problem| problem.starts_with("health_checks[1].timeout: ")),
        "{problems:#?}"
    );
    assert_eq!(problems.len(), 2, "{problems:#?}");
}

#[test]
fn p5_a_list_with_a_wrong_item_is_not_called_empty() {
    let problems = refused(json!({"worker_id": "a", "command": [5]}));
    assert_eq!(problems, ["command[0]: a number, expected a string"]);
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[allow(dead_code)]
enum Auth {
    Token {
        ttl: HumanDuration,
        #[serde(default)]
        inner: Inner,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(dead_code)]
struct Inner {
    size: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Tagged {
    auth: Auth,
    #[serde(default)]
    count: u8,
    #[serde(default)]
    map: BTreeMap<String, Auth>,
}

#[test]
fn p5_tagged_enums_have_paths_and_hide_nothing_outside() {
    let problems = told::<Tagged>(json!({"auth": {"kind": "token", "ttl": "1s", "tll": "2s"}, "count": "x"}));
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].starts_with("auth.tll: unknown field `tll`; did you mean `ttl`?"), "{problems:#?}");
    assert!(problems[1].starts_with("count: a string"), "{problems:#?}");

    let problems =
        told::<Tagged>(json!({"auth": {"kind": "token", "ttl": 7, "inner": {"size": 999}}, "cuont": 1}));
    assert_eq!(problems.len(), 3, "{problems:#?}");
    for path in ["auth.ttl: ", "auth.inner.size: ", "cuont: "] {
        assert!(problems.iter().any(|problem| problem.starts_with(path)), "{path} {problems:#?}");
    }

    let problems = told::<Tagged>(json!({
        "auth": {"kind": "tokn"},
        "map": {"a": {"kind": "token", "ttl": "1s", "inner": {"sise": 1}}, "b": {"ttl": "1s"}, "c": {"kind": "token"}},
    }));
    assert_eq!(problems.len(), 4, "{problems:#?}");
    assert!(problems[0].starts_with("auth.kind: unknown value `tokn`"), "{problems:#?}");
    assert!(problems[1].starts_with("map.a.inner.sise: unknown field"), "{problems:#?}");
    assert!(problems[2].starts_with("map.b.kind: is required"), "{problems:#?}");
    assert!(problems[3].starts_with("map.c.ttl: is required"), "{problems:#?}");
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Flat {
    name: String,
    #[serde(flatten)]
    common: Common,
    #[serde(default)]
    count: u8,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Common {
    ttl: HumanDuration,
    #[serde(default)]
    size: u8,
}

#[test]
fn p5_flattened_fields_have_paths_and_hide_nothing() {
    let problems = told::<Flat>(json!({"name": "a", "ttl": "never", "size": -1, "count": 300}));
    assert_eq!(problems.len(), 3, "{problems:#?}");
    for path in ["count: ", "ttl: ", "size: "] {
        assert!(problems.iter().any(|problem| problem.starts_with(path)), "{path} {problems:#?}");
    }
}

#[test]
fn p5_a_variant_whose_fields_are_optional_may_be_a_bare_word() {
    let policy = read::<RestartPolicy>(&json!("on_failure"));
    assert_eq!(policy.value, Some(RestartPolicy::OnFailure { max_retries: None }), "{}", policy.problems);
    let tmpfs = read::<MountSource>(&json!("tmpfs"));
    assert_eq!(tmpfs.value, Some(MountSource::Tmpfs { size: None }), "{}", tmpfs.problems);
    assert_eq!(told::<RestartPolicy>(json!("always")), [""; 0]);
    let problems = told::<BTreeMap<String, MountSource>>(json!({"a": "bind", "b": "nothing-like-it"}));
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert_eq!(problems[0], "a.bind.path: is required");
    let problems = told::<HealthCheckConfig>(json!({"probe": "command", "interval": "x"}));
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(
        problems.iter().any(|problem| problem.starts_with("probe: `command` needs a value")),
        "{problems:#?}"
    );
}

#[test]
fn p1_text_in_the_wrong_place_is_not_repeated() {
    for wrong in [
        json!(["hunter2-the-password"]),
        json!([{"name": "a", "target": "hunter2-the-password"}]),
        json!([{"name": "a", "target": {"file": "hunter2-the-password"}}]),
        json!("hunter2-the-password"),
    ] {
        let parsed = read::<Vec<SecretReference>>(&wrong);
        assert!(!parsed.problems.is_empty());
        assert!(!format!("{parsed:?} {}", parsed.problems).contains("hunter2"), "{:?}", parsed.problems);
    }
    assert_eq!(
        told::<Vec<u8>>(json!(["x", 300, {}])),
        ["[0]: a string, expected u8", "[1]: integer `300`, expected u8", "[2]: an object, expected u8",]
    );
    assert_eq!(told::<SecretTarget>(json!("hunter")).len(), 1);
}

#[test]
fn p5_a_problem_of_the_whole_is_told_beside_others() {
    let error = read_validated::<Inner>(&json!({"sise": 1}), |_, problems: &mut Problems| {
        problems.add("", "does not fit");
    })
    .unwrap_err();
    assert_eq!(error.problems().unwrap().len(), 2, "{error}");
}

#[test]
fn p5_a_list_is_not_an_object() {
    assert_eq!(told::<Inner>(json!([1])), ["a list, expected struct Inner"]);
}
