use serde_json::{Value, json};

use super::*;

const STARTED: &str = "2026-01-02T03:04:05.123456789Z";
const NEVER: &str = "0001-01-01T00:00:00Z";

fn viewpoint(endpoint: &str) -> Viewpoint {
    let address = endpoint::Address::parse(endpoint).unwrap();
    let endpoint = endpoint::Endpoint { address, tls: None, source: String::new() };
    Viewpoint::new("ci".parse().unwrap(), &endpoint)
}

fn inspected(state: Value, ports: Value) -> ContainerInspectResponse {
    serde_json::from_value(json!({
        "Id": "c0ffee",
        "Created": "2026-01-02T03:04:04Z",
        "State": state,
        "Config": {"Labels": {
            "hodei-worker/installation": "ci", "hodei-worker/id": "a", "hodei-worker/generation": "2",
            "hodei-worker/type": "web", "hodei-worker/config": "ff", "team": "x", "hodei-worker/labels": "[\"team\"]",
            "maintainer": "the image's", "hodei-worker/log": "", "hodei-worker/position": "",
        }},
        "NetworkSettings": {"Ports": ports},
    }))
    .unwrap()
}

fn status(state: Value) -> WorkerStatus {
    viewpoint("unix:///x").status(&inspected(state, Value::Null), Timestamp::UNIX_EPOCH).unwrap()
}

fn ended(code: i64, oom: bool) -> WorkerStatus {
    status(json!({
        "Status": "exited", "ExitCode": code, "OOMKilled": oom, "StartedAt": STARTED, "FinishedAt": STARTED,
    }))
}

#[test]
fn d2_each_state_has_its_phase() {
    for (state, phase) in [
        ("created", WorkerPhase::Created),
        ("running", WorkerPhase::Running),
        ("paused", WorkerPhase::Paused),
        ("restarting", WorkerPhase::Starting),
        ("removing", WorkerPhase::Exited),
        ("exited", WorkerPhase::Exited),
        ("dead", WorkerPhase::Exited),
        ("stopping", WorkerPhase::Stopping),
    ] {
        assert_eq!(status(json!({"Status": state})).phase, phase, "{state}");
    }
}

#[test]
fn d2_a_container_that_never_ran_has_no_exit() {
    let status = status(json!({"Status": "created", "ExitCode": 0, "StartedAt": NEVER, "FinishedAt": NEVER}));
    assert_eq!(
        (status.phase, status.exit, status.run, status.failure),
        (WorkerPhase::Created, None, None, None)
    );
    assert!(status.times.started.is_none() && status.times.created.is_some());
}

#[test]
fn d2_exit_codes_are_told_apart_as_far_as_the_engine_does() {
    assert!(ended(0, false).succeeded());
    assert_eq!(ended(1, false).failure, Some(FailureClass::Application));
    let killed = ended(137, false);
    assert_eq!(killed.exit, Some(ExitStatus::CodeOrSignal(137)));
    assert_eq!((killed.failure, killed.out_of_memory), (Some(FailureClass::Killed), false));
    let starved = ended(137, true);
    assert_eq!((starved.failure, starved.out_of_memory), (Some(FailureClass::OutOfMemory), true));
    let survived = ended(1, true);
    assert_eq!((survived.failure, survived.out_of_memory), (Some(FailureClass::Application), true));
    assert_eq!(ended(0, false).run.unwrap().as_str(), STARTED);
}

#[test]
fn d2_a_command_that_does_not_exist_is_no_exit() {
    for (code, failure) in [
        (127, FailureClass::CommandNotFound),
        (126, FailureClass::CommandNotFound),
        (128, FailureClass::Configuration),
    ] {
        let status = status(json!({
            "Status": "created", "ExitCode": code, "Error": "so it is", "StartedAt": NEVER, "FinishedAt": NEVER,
        }));
        assert_eq!((status.phase, status.exit), (WorkerPhase::Exited, None));
        assert_eq!((status.failure, status.reason.as_deref()), (Some(failure), Some("so it is")));
    }
}

#[test]
fn d2_a_removal_that_fails_does_not_change_how_it_ended() {
    for (code, succeeded) in [(0, true), (127, false)] {
        let status = status(json!({
            "Status": "dead", "ExitCode": code, "Error": "unable to remove filesystem: device or resource busy",
            "StartedAt": STARTED, "FinishedAt": STARTED,
        }));
        assert_eq!((status.phase, status.exit.is_some()), (WorkerPhase::Exited, true));
        assert_eq!(status.succeeded(), succeeded);
    }
}

#[test]
fn d2_a_program_that_exits_with_127_did_exit() {
    let status = ended(127, false);
    assert_eq!(status.exit, Some(ExitStatus::Code(127)));
    assert_eq!(status.failure, Some(FailureClass::Application));
}

#[test]
fn d4_published_ports_are_where_one_can_connect() {
    let ports = json!({
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "49153"}, {"HostIp": "0.0.0.0", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "::", "HostPort": "5353"}],
        "90/tcp": null,
        "odd": [{"HostIp": "", "HostPort": ""}],
    });
    let container = inspected(json!({"Status": "running", "StartedAt": STARTED}), ports);
    let shown = |endpoint: &str| -> Vec<String> {
        let status = viewpoint(endpoint).status(&container, Timestamp::UNIX_EPOCH).unwrap();
        let each = status.addresses.iter();
        each.map(|a| format!("{}/{} {} {}", a.port, a.protocol, a.host, a.host_port)).collect()
    };
    assert_eq!(shown("unix:///x"), ["53/udp ::1 5353", "80/tcp 127.0.0.1 8080", "80/tcp 127.0.0.1 49153"]);
    // What is reached over our own loopback address is taken for an engine of this machine.
    assert_eq!(shown("tcp://localhost:2375"), shown("unix:///x"));
    assert_eq!(shown("tcp://10.0.0.9:2375"), ["53/udp 10.0.0.9 5353", "80/tcp 10.0.0.9 8080"]);
    assert_eq!(
        shown("tcp://docker.example.com:2376"),
        ["53/udp docker.example.com 5353", "80/tcp docker.example.com 8080"]
    );
}

#[test]
fn d2_labels_of_ours_are_not_shown_as_the_users() {
    let status = status(json!({"Status": "running", "StartedAt": STARTED}));
    assert_eq!(status.labels.keys().collect::<Vec<_>>(), ["team"]);
    assert_eq!(status.worker_type.unwrap().as_str(), "web");
    assert_eq!(status.worker.to_string(), "a#2");
    assert_eq!(status.ownership.unwrap().fingerprint.as_deref(), Some("ff"));
}

#[test]
fn d2_anothers_container_is_nobody() {
    let mut container = inspected(json!({"Status": "running"}), Value::Null);
    let labels = container.config.as_mut().unwrap().labels.as_mut().unwrap();
    labels.insert("hodei-worker/installation".to_owned(), "other".to_owned());
    assert!(viewpoint("unix:///x").status(&container, Timestamp::UNIX_EPOCH).is_none());
}
