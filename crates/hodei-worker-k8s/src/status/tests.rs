use serde_json::{Value, json};

use super::*;

fn seen(spec: Value, told: Value, deletion: bool) -> WorkerStatus {
    let mut pod = json!({
        "metadata": {
            "name": "hodei.me.a.1", "uid": "u-1", "resourceVersion": "77",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "hodei-worker/installation": "me", "hodei-worker/id": "a", "hodei-worker/generation": "1",
                "hodei-worker/type": "builders", "other": "of-admission",
            },
        },
        "spec": {"containers": [{"name": "worker", "ports": [{"containerPort": 80}]}]},
        "status": told,
    });
    for (key, value) in spec.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    if deletion {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:01:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(20);
    }
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let view = Viewpoint { installation: "me".parse().unwrap(), reaches_pods: true };
    view.status(&pod, Timestamp::UNIX_EPOCH).unwrap()
}

fn container(state: Value) -> Value {
    json!([{"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
}

fn told(phase: &str, state: Value) -> WorkerStatus {
    seen(json!({}), json!({"phase": phase, "containerStatuses": container(state)}), false)
}

#[test]
fn k2_a_pods_life_is_a_workers() {
    let gated = seen(
        json!({"schedulingGates": [{"name": "hodei-worker/start"}]}),
        json!({"phase": "Pending"}),
        false,
    );
    assert_eq!((gated.phase, gated.run), (WorkerPhase::Created, None));
    let pending = seen(json!({}), json!({"phase": "Pending"}), false);
    assert_eq!(pending.phase, WorkerPhase::Starting);
    assert_eq!(pending.run.as_ref().map(RunId::as_str), Some("u-1"));
    let running = told("Running", json!({"running": {"startedAt": "2026-01-01T00:00:02Z"}}));
    assert_eq!((running.phase, running.failure, running.exit), (WorkerPhase::Running, None, None));
    assert_eq!(running.version, Some(Version::of_platform(77)));
    assert_eq!(running.worker_type.as_ref().map(AsRef::as_ref), Some("builders"));
    assert!(running.labels.is_empty(), "{:?}", running.labels);
    let ended = json!({"terminated": {"exitCode": 3, "reason": "Error",
        "startedAt": "2026-01-01T00:00:02Z", "finishedAt": "2026-01-01T00:00:05Z"}});
    let ended = told("Failed", ended);
    assert_eq!((ended.phase, ended.exit), (WorkerPhase::Exited, Some(ExitStatus::Code(3))));
    assert_eq!(ended.failure, Some(FailureClass::Application));
    assert!(ended.times.created < ended.times.started && ended.times.started < ended.times.finished);
    let well = told("Succeeded", json!({"terminated": {"exitCode": 0, "reason": "Completed"}}));
    assert!(well.succeeded() && well.failure.is_none());
}

#[test]
fn k9_a_pod_that_is_to_be_deleted_is_stopping_until_its_program_has_ended() {
    let state = json!({"running": {"startedAt": "2026-01-01T00:00:02Z"}});
    let stopping = seen(json!({}), json!({"phase": "Running", "containerStatuses": container(state)}), true);
    assert_eq!(stopping.phase, WorkerPhase::Stopping);
    assert_eq!(stopping.times.stopping, Some("2026-01-01T00:00:40Z".parse().unwrap()));
    let state = json!({"terminated": {"exitCode": 143, "reason": "Error"}});
    let ended = seen(json!({}), json!({"phase": "Running", "containerStatuses": container(state)}), true);
    assert_eq!((ended.phase, ended.exit), (WorkerPhase::Exited, Some(ExitStatus::CodeOrSignal(143))));
}

#[test]
fn k2_each_failure_has_its_class_and_the_clusters_words() {
    let waiting =
        |reason: &str| told("Pending", json!({"waiting": {"reason": reason, "message": "so it is"}}));
    for (reason, class) in [
        ("ErrImagePull", FailureClass::ImagePull),
        ("ImagePullBackOff", FailureClass::ImagePull),
        ("ErrImageNeverPull", FailureClass::ImageNotFound),
        ("InvalidImageName", FailureClass::ImageNotFound),
        ("CreateContainerConfigError", FailureClass::Configuration),
    ] {
        let status = waiting(reason);
        assert_eq!((status.phase, status.failure), (WorkerPhase::Starting, Some(class)), "{reason}");
        assert_eq!(status.reason, Some(format!("{reason}: so it is")));
    }
    assert_eq!(waiting("ContainerCreating").failure, None);
    let killed = told("Failed", json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}));
    assert!(killed.out_of_memory && killed.failure == Some(FailureClass::OutOfMemory));
    let missing = told(
        "Failed",
        json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file"}}),
    );
    assert_eq!((missing.exit, missing.failure), (None, Some(FailureClass::CommandNotFound)));
}

#[test]
fn k10_what_the_cluster_took_away_is_not_the_workers_fault() {
    let of_pod = |value: Value| seen(json!({}), value, false);
    for (reason, class) in [
        ("Evicted", FailureClass::Evicted),
        ("NodeLost", FailureClass::NodeLost),
        ("DeadlineExceeded", FailureClass::DeadlineExceeded),
        ("OutOfcpu", FailureClass::Capacity),
    ] {
        let status = of_pod(json!({"phase": "Failed", "reason": reason, "message": "so it is"}));
        assert_eq!((status.phase, status.failure), (WorkerPhase::Exited, Some(class)), "{reason}");
        assert_eq!(status.exit, None);
    }
    let disrupted = |reason: &str| {
        of_pod(json!({"phase": "Failed", "conditions": [
            {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "so it is"},
        ]}))
    };
    assert_eq!(disrupted("PreemptionByScheduler").failure, Some(FailureClass::Evicted));
    assert_eq!(disrupted("DeletionByTaintManager").failure, Some(FailureClass::NodeLost));
    let full = of_pod(json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
    ]}));
    assert_eq!((full.phase, full.failure), (WorkerPhase::Starting, Some(FailureClass::Capacity)));
    assert_eq!(full.reason.as_deref(), Some("Unschedulable: 0/1 nodes are available"));
}

#[test]
fn k10_a_worker_of_a_node_that_does_not_answer_is_lost_and_has_not_failed() {
    let running = |ready: &str, containers: &str| {
        let conditions = json!([
            {"type": "Ready", "status": ready}, {"type": "ContainersReady", "status": containers},
        ]);
        let state = container(json!({"running": {"startedAt": "2026-01-01T00:00:02Z"}}));
        seen(
            json!({}),
            json!({"phase": "Running", "conditions": conditions, "containerStatuses": state}),
            false,
        )
    };
    let lost = running("False", "True");
    assert_eq!((lost.phase, lost.failure), (WorkerPhase::Unknown, None));
    assert!(lost.reason.unwrap().contains("does not answer"));
    assert_eq!(running("True", "True").phase, WorkerPhase::Running);
    assert_eq!(running("False", "False").phase, WorkerPhase::Running, "its probe fails");
}

#[test]
fn k2_readiness_is_health_where_there_is_a_probe() {
    let probed = |ready: &str, changed: &str| {
        let state = json!({"running": {"startedAt": "2026-01-01T00:00:02Z"}});
        let probe =
            json!({"containers": [{"name": "worker", "readinessProbe": {"tcpSocket": {"port": 80}}}]});
        let told = json!({"phase": "Running", "containerStatuses": container(state), "conditions": [
            {"type": "ContainersReady", "status": ready, "lastTransitionTime": changed},
        ]});
        seen(probe, told, false).health
    };
    assert_eq!(probed("False", "2026-01-01T00:00:01Z"), Some(Health::Starting));
    assert_eq!(probed("True", "2026-01-01T00:00:03Z"), Some(Health::Healthy));
    assert_eq!(probed("False", "2026-01-01T00:00:09Z"), Some(Health::Unhealthy));
    assert_eq!(told("Running", json!({"running": {}})).health, None);
}

/// What a member of a group is, whose container the kubelet begins again.
fn member(restarts: u32, state: Value, deletion: bool) -> WorkerStatus {
    let mut containers = container(state);
    containers[0]["restartCount"] = json!(restarts);
    let told = json!({"phase": "Running", "containerStatuses": containers});
    seen(json!({"restartPolicy": "Always"}), told, deletion)
}

#[test]
fn k5_a_member_that_ends_is_starting_again_in_a_run_of_its_own() {
    let ended = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
    let between = member(0, ended.clone(), false);
    assert_eq!(between.phase, WorkerPhase::Starting);
    let waits =
        member(4, json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}), false);
    assert_eq!(waits.phase, WorkerPhase::Starting);
    assert_eq!(waits.reason.as_deref(), Some("CrashLoopBackOff: back-off 40s"));
    let again = member(4, json!({"running": {"startedAt": "2026-01-01T00:00:02Z"}}), false);
    assert_eq!(again.run.as_ref().map(RunId::as_str), Some("u-1.4"));
    assert_eq!(member(4, ended, true).phase, WorkerPhase::Exited);
}
