use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::model::{
    ContainerImage, Mount, Port, RestartPolicy, SecretReference, WorkerConfig, WorkerTemplate,
};

fn paths(spec: &WorkerSpec) -> Vec<String> {
    let problems = ValidationRules::default().check(spec);
    problems.iter().map(|problem| problem.path.clone()).collect()
}

fn spec() -> WorkerSpec {
    let mut spec = WorkerSpec::new("a".parse().unwrap());
    spec.command = vec!["true".to_owned()];
    spec
}

fn told(error: crate::Error) -> Vec<String> {
    error.problems().unwrap().iter().map(ToString::to_string).collect()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nice {
    niceness: i8,
    #[serde(default)]
    core: u8,
}

impl WorkerOptions for Nice {
    const PROVIDER: &'static str = "nice";
    fn validate(&self, problems: &mut Problems) {
        problems.require(self.niceness < 20, "niceness", "must be below 20");
    }
}

fn with_options(options: Value) -> Value {
    json!({"worker_id": "a", "command": ["true"], "options": options})
}

#[test]
fn p5_options_of_known_providers_are_checked_with_the_rest() {
    let rules = ValidationRules::default().with_options::<Nice>();
    let value = json!({
        "worker_id": "A B",
        "command": ["true"],
        "options": {"nic": {"niceness": 1}, "nice": {"niceness": 99, "cor": 1}, "kubernetes": {}},
    });
    let problems = told(WorkerConfig::from_value_with(&value, &rules).unwrap_err());
    assert_eq!(problems.len(), 5, "{problems:#?}");
    for start in [
        "worker_id: ",
        "options.nic: unknown provider `nic`; did you mean `nice`?",
        "options.nice.niceness: must be below 20",
        "options.nice.cor: unknown field `cor`; did you mean `core`?",
        "options.kubernetes: unknown provider `kubernetes`; known are `nice`",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start} {problems:#?}");
    }
    WorkerConfig::from_value_with(&with_options(json!({"nice": {"niceness": 1}})), &rules).unwrap();
    // Without any known provider they are kept as they are.
    let config = WorkerConfig::from_value(&with_options(json!({"else": {"x": 1}}))).unwrap();
    assert!(WorkerConfig::with_rules(config.to_spec(), &rules).is_err());
    serde_json::from_value::<WorkerConfig>(serde_json::to_value(&config).unwrap()).unwrap();
}

#[test]
fn p5_what_was_built_by_other_rules_is_read_back() {
    let rules =
        ValidationRules::default().with_min_cpu(Cpu::from_millis(1)).with_min_memory(ByteSize::new(1));
    let builder = WorkerConfig::builder("a").command(["true"]).cpu_limit("10m").memory_limit("1Ki");
    assert_eq!(told(builder.clone().build().unwrap_err()).len(), 2);
    let config = builder.build_with(&rules).unwrap();
    let stored = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<WorkerConfig>(&stored).unwrap(), config);
    // The form still counts.
    let error = serde_json::from_value::<WorkerConfig>(json!({"worker_id": "a"})).unwrap_err();
    assert!(error.to_string().contains("command: "), "{error}");
    assert!(serde_json::from_value::<WorkerConfig>(with_options(json!(5))).is_err());
}

#[test]
fn p5_a_bad_image_is_told_once() {
    let error = WorkerConfig::from_value(&json!({"worker_id": "a", "image": "nginx"})).unwrap_err();
    assert_eq!(told(error).len(), 1);
    let error = WorkerConfig::from_value(&json!({"worker_id": "a", "image": null})).unwrap_err();
    assert_eq!(told(error).len(), 1);
}

#[test]
fn p1_ports_that_overlap_are_used_twice() {
    let at = |address: Option<&str>| {
        let mut port = Port::tcp(0).on_host_port(8080);
        port.host_address = address.map(|address| address.parse().unwrap());
        port
    };
    for (one, other, refused) in [
        (None, None, true),
        (None, Some("127.0.0.1"), true),
        (Some("::1"), None, true),
        (Some("0.0.0.0"), Some("127.0.0.1"), true),
        (Some("::1"), Some("::"), true),
        (Some("::ffff:127.0.0.1"), Some("127.0.0.1"), true),
        (Some("127.0.0.1"), Some("127.0.0.2"), false),
        (Some("0.0.0.0"), Some("::"), false),
    ] {
        let mut spec = spec();
        spec.ports = vec![at(one), at(other)];
        spec.ports[0].port = 80;
        spec.ports[1].port = 81;
        let expected: &[&str] = if refused { &["ports[1].host_port"] } else { &[] };
        assert_eq!(paths(&spec), expected, "{one:?} {other:?}");
    }
    let mut spec = spec();
    spec.ports = vec![at(None), at(Some("127.0.0.1")), at(Some("0.0.0.0"))];
    for (n, port) in spec.ports.iter_mut().enumerate() {
        port.port = 80 + u16::try_from(n).unwrap();
    }
    assert_eq!(paths(&spec), ["ports[1].host_port", "ports[2].host_port"]);
}

#[test]
fn p1_targets_are_the_same_however_they_are_written() {
    let mut spec = spec();
    spec.mounts = vec![Mount::tmpfs("/c", None), Mount::tmpfs("/c/", None), Mount::tmpfs("//c/./", None)];
    spec.secrets = vec![SecretReference::file("s", "/run/a"), SecretReference::file("t", "/run//a")];
    assert_eq!(paths(&spec), ["secrets[1].target", "mounts[1].target", "mounts[2].target"]);
}

#[test]
fn p1_labels_are_text_on_one_line() {
    for (name, value, good) in [
        ("team.example/name", "a b", true),
        ("te am", "a", false),
        ("te\tam", "a", false),
        ("te\0am", "a", false),
        ("", "a", false),
        ("team", "a\0", false),
        ("team", "a\nb", false),
        ("hodei-worker/x", "a", false),
    ] {
        let mut spec = spec();
        spec.metadata.labels.insert(name.to_owned(), value.to_owned());
        assert_eq!(paths(&spec).is_empty(), good, "{name:?} {value:?}");
    }
}

#[test]
fn p1_limits_that_nothing_can_live_in_are_refused_once() {
    for (limit, refused) in [("0", true), ("1", true), ("4095Ki", true), ("4Mi", false)] {
        let mut spec = spec();
        spec.resources.memory_limit = Some(limit.parse().unwrap());
        let expected: &[&str] = if refused { &["resources.memory_limit"] } else { &[] };
        assert_eq!(paths(&spec), expected, "{limit}");
    }
    let mut spec = spec();
    spec.resources.cpu_limit = Some(Cpu::from_millis(0));
    assert_eq!(paths(&spec), ["resources.cpu_limit"]);
}

#[test]
fn p1_a_worker_keeps_never_under_a_template_that_says_always() {
    let template: WorkerTemplate =
        serde_json::from_value(json!({"default_restart_policy": "always"})).unwrap();
    let made = |policy: Option<RestartPolicy>| {
        let mut spec = spec();
        spec.restart_policy = policy;
        WorkerConfig::new(template.apply(spec)).unwrap().restart_policy()
    };
    assert_eq!(made(None), RestartPolicy::Always);
    assert_eq!(made(Some(RestartPolicy::Never)), RestartPolicy::Never);
    assert_eq!(WorkerConfig::new(spec()).unwrap().restart_policy(), RestartPolicy::Never);
    let built =
        WorkerConfig::builder("a").command(["true"]).restart_policy(RestartPolicy::Always).build().unwrap();
    assert_eq!(built.restart_policy(), RestartPolicy::Always);
}

#[test]
fn p1_a_secret_in_a_variables_name_is_not_repeated() {
    let mut spec = spec();
    spec.image = Some("a:1".parse::<ContainerImage>().unwrap());
    spec.secrets = vec![
        SecretReference::variable("s", "PASSWORD=hunter2"),
        SecretReference::variable("t", "PASSWORD=hunter2"),
    ];
    let problems = ValidationRules::default().check(&spec);
    assert_eq!(problems.len(), 3);
    assert!(!problems.to_string().contains("hunter2"), "{problems}");
}

#[test]
fn p1_the_fingerprint_of_a_configuration_is_the_same_in_every_version() {
    let with = |options: Value| WorkerConfig::from_value(&with_options(options)).unwrap().fingerprint();
    let one = with(json!({"nice": {"a": [1, {"x": 1, "y": null}], "b": "\u{e9}\n"}, "other": {}}));
    let other = with(json!({"other": {}, "nice": {"b": "\u{e9}\n", "a": [1, {"y": null, "x": 1}]}}));
    // Also where a feature of serde_json keeps the order of fields, as in many hosts.
    assert_eq!(one, other);
    assert_eq!(one, "9014d9ad90471fb57337bccb346cb75c");
    assert_ne!(one, with(json!({"nice": {"a": [{"x": 1, "y": null}, 1], "b": "\u{e9}\n"}, "other": {}})));
}

#[test]
fn p5_an_image_that_was_refused_is_not_missing() {
    let problems = told(WorkerConfig::builder("a").image("No Image").build().unwrap_err());
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("image: "), "{problems:?}");
}

fn of_check(check: Value) -> Vec<String> {
    let value = json!({"worker_id": "a", "command": ["true"], "health_checks": [check]});
    WorkerConfig::from_value(&value).map(|_| Vec::new()).unwrap_or_else(told)
}

#[test]
fn l2_health_checks_that_cannot_be_meant_are_refused() {
    for (check, path) in [
        (json!({"probe": {"http": {"port": 0}}}), "probe.http.port"),
        (json!({"probe": {"http": {"port": 1, "path": "x"}}}), "probe.http.path"),
        (json!({"probe": {"http": {"port": 1, "path": "/a b"}}}), "probe.http.path"),
        (json!({"probe": {"http": {"port": 1, "path": "/a\r\nX: 1"}}}), "probe.http.path"),
        (json!({"probe": {"http": {"port": 1, "host": "a/b"}}}), "probe.http.host"),
        (json!({"probe": {"http": {"port": 1, "headers": {"a b": "x"}}}}), "probe.http.headers"),
        (json!({"probe": {"http": {"port": 1, "headers": {"a": "x\ny"}}}}), "probe.http.headers.a"),
        (json!({"probe": {"http": {"port": 1, "headers": {"Host": "x"}}}}), "probe.http.headers.Host"),
        (json!({"probe": {"http": {"port": 1, "expect": ["2xx"]}}}), "probe.http.expect[0]"),
        (json!({"probe": {"http": {"port": 1, "expect": ["300-200"]}}}), "probe.http.expect[0]"),
        (json!({"probe": {"tcp": {"port": 0}}}), "probe.tcp.port"),
        (json!({"probe": {"command": [""]}}), "probe.command"),
        (json!({"probe": {"heartbeat": {"within": "0"}}}), "probe.heartbeat.within"),
        (json!({"probe": "native", "slow_after": "0"}), "slow_after"),
        (json!({"probe": "native", "timeout": "1s", "slow_after": "1s"}), "slow_after"),
        (json!({"probe": "native", "slow_threshold": 0}), "slow_threshold"),
        (
            json!({"probe": "native", "flapping": {"changes": 1, "within": "1m", "calm": "1m"}}),
            "flapping.changes",
        ),
        (
            json!({"probe": "native", "flapping": {"changes": 4, "within": "1m", "calm": "0"}}),
            "flapping.calm",
        ),
    ] {
        let told = of_check(check.clone());
        let start = format!("health_checks[0].{path}: ");
        assert!(told.len() == 1 && told[0].starts_with(&start), "{check}: {told:#?}");
    }
    let good = json!({
        "probe": {"http": {
            "port": 8443, "path": "/live?x=%20", "scheme": "https", "host": "a.example:1", "headers": {"X-A": "b c"},
            "expect": [200, "204-206"],
        }},
        "slow_after": "300ms", "slow_threshold": 2, "flapping": {"changes": 0, "within": "1m", "calm": "1m"},
    });
    assert_eq!(of_check(good), [""; 0]);
    assert_eq!(of_check(json!({"probe": {"heartbeat": {"within": "30s"}}})), [""; 0]);
}

#[test]
fn l2_a_check_without_the_newer_fields_is_stored_as_it_was() {
    let stored = json!({
        "probe": {"http": {"port": 80, "path": "/"}}, "interval": "10s", "timeout": "1s", "start_period": "0s",
        "success_threshold": 1, "failure_threshold": 3,
    });
    let check: crate::model::HealthCheckConfig = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(&check).unwrap(), stored);
    assert_eq!(serde_json::to_value(spec()).unwrap().get("reports"), None);
}
