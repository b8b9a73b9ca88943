use std::collections::BTreeMap;

use super::*;
use crate::{
    error::{Error, ErrorKind, Retry},
    lifecycle::{
        Change, CorrelationId, DegradedBy, Escalation, EventType, RunEnd, Strategy, WorkerState,
        WorkerStateEvent,
    },
    provider::Operation,
    quantity::{ByteSize, HumanDuration},
    status::FailureClass,
    store::StoredEvent,
};

/// Form 1 as it was first written: a line per event. Never changed; a new form gets a file of its own beside it.
const GOLDEN: &str = include_str!("golden/v1.jsonl");

fn stored(version: u64, event: impl AsRef<[u8]>) -> StoredEvent {
    StoredEvent::new(version, id(), version, bytes::Bytes::copy_from_slice(event.as_ref()))
}

/// Each change once, with every field that it can have.
fn changes() -> Vec<Change> {
    let traits = Traits {
        worker_type: Some("builders".parse().unwrap()),
        priority: -3,
        restart: RestartPolicy::OnFailure { max_retries: Some(4) },
        recovery: Some(Box::new(RecoverySettings {
            memory_max: Some(ByteSize::new(4096)),
            ..RecoverySettings::default()
        })),
        checked: true,
        reports: true,
        stop_grace: Some(HumanDuration::secs(7)),
        memory_limit: Some(ByteSize::new(1024)),
        config: "0123abcd".into(),
    };
    let end = RunEnd {
        run: Some(RunId::new("run-1")),
        exit: Some(ExitStatus::CodeOrSignal(137)),
        failure: Some(FailureClass::OutOfMemory),
        reason: Some("killed".into()),
        at: Some(at(4)),
        gone: true,
    };
    let error = Error::new(ErrorKind::Unavailable, "no answer").with_help("look").report();
    vec![
        Change::CreateIntended {
            provider: provider("one"),
            generation: GENERATION_2,
            goal: Goal::Running,
            traits: Some(Box::new(traits)),
        },
        Change::Created,
        Change::StartIntended { after: Some(RunId::new("run-1")) },
        Change::Started { run: RunId::new("run-2"), at: Some(at(3)) },
        Change::Ended(Box::new(end)),
        Change::RecoveryPlanned {
            strategy: Strategy::Resize,
            attempt: 2,
            due: at(5),
            failure: Some(FailureClass::OutOfMemory),
        },
        Change::Escalated {
            why: Escalation::CrashLoop,
            failure: Some(FailureClass::Application),
            reason: Some("again".into()),
        },
        Change::GoalChanged { goal: Goal::Removed, keep_volumes: true },
        Change::Draining { until: at(9) },
        Change::StopIntended { grace: Some(Duration::from_millis(1500)) },
        Change::DeleteIntended { replace: true, keep_volumes: true },
        Change::Terminated,
        Change::Healthy,
        Change::Unhealthy { reason: "no answer".into() },
        Change::Degraded { by: DegradedBy::Latency, reason: "slow".into() },
        Change::Restored { by: DegradedBy::Latency },
        Change::Recovered,
        Change::Passed,
        Change::CallFailed { operation: Operation::Start, error: Box::new(error), retry_at: at(8) },
        Change::TakenOver { lease: 7, owner_epoch: 3 },
    ]
}

const GENERATION_2: Generation = match Generation::new(2) {
    Some(generation) => generation,
    None => Generation::FIRST,
};

/// An event for each, as if they followed.
fn events() -> Vec<WorkerStateEvent> {
    let mut all = Vec::new();
    for (version, change) in (1..).zip(changes()) {
        let old = (version > 1).then_some(WorkerState::Running);
        let new = (change != Change::Terminated).then_some(WorkerState::Stopping);
        all.push(WorkerStateEvent {
            event_id: version,
            worker_id: id(),
            version,
            old_state: old,
            new_state: new,
            timestamp: at(version),
            inferred: change == Change::Passed,
            metadata: BTreeMap::from([("by".to_owned(), "test".to_owned())]),
            correlation_id: Some(CorrelationId::new("c-1")),
            change,
        });
    }
    all
}

#[test]
fn l6_each_change_is_read_as_it_was_written() {
    for event in events() {
        let bytes = event.to_bytes().unwrap();
        assert_eq!(WorkerStateEvent::from_stored(&stored(event.version, &bytes)).unwrap(), event);
    }
}

#[test]
fn l6_what_form_1_wrote_is_read_for_ever() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lifecycle/tests/golden/v1.jsonl");
    if std::env::var_os("HODEI_WRITE_GOLDEN").is_some() {
        let lines = events().iter().map(|event| event.to_bytes().unwrap()).collect::<Vec<_>>().join(&b'\n');
        std::fs::write(path, [lines, b"\n".to_vec()].concat()).unwrap();
        return;
    }
    let events = events();
    assert_eq!(GOLDEN.lines().count(), events.len());
    for (line, event) in GOLDEN.lines().zip(events) {
        let read = WorkerStateEvent::from_stored(&stored(event.version, line)).unwrap();
        assert_eq!(read, event, "{line}");
        assert_eq!(
            line.as_bytes(),
            event.to_bytes().unwrap(),
            "form 1 is written otherwise now: it needs a new number"
        );
    }
}

#[test]
fn l6_what_a_newer_version_adds_is_skipped() {
    let line = r#"{"v":1,"o":"running","n":"degraded","t":"2026-01-01T00:00:00Z","shade":"blue",
        "c":{"degraded":{"by":"moonlight","reason":"full","tide":{"high":true}}}}"#;
    let event = WorkerStateEvent::from_stored(&stored(4, line)).unwrap();
    assert_eq!(event.change, Change::Degraded { by: DegradedBy::Other, reason: "full".into() });
}

#[test]
fn l6_words_of_a_newer_version_are_taken_for_others() {
    let read = |change: &str| {
        let line =
            format!(r#"{{"v":1,"o":"running","n":"running","t":"2026-01-01T00:00:00Z","c":{change}}}"#);
        WorkerStateEvent::from_stored(&stored(4, line)).unwrap().change
    };
    let Change::RecoveryPlanned { strategy, .. } = read(
        r#"{"recovery_planned":{"strategy":"clone","attempt":1,"due":"2026-01-01T00:00:00Z","failure":"haunted"}}"#,
    ) else {
        panic!("another change")
    };
    assert_eq!(strategy, Strategy::Other);
    let Change::Escalated { why, .. } = read(r#"{"escalated":{"why":"bored"}}"#) else {
        panic!("another change")
    };
    assert_eq!(why, Escalation::Other);
    let failed = r#"{"call_failed":{"operation":"start","retry_at":"2026-01-01T00:00:00Z","error":{"kind":"haunted",
        "retry":{"at_midnight":{"moon":"full"}},"message":"no","operation":"exorcise"}}}"#;
    let Change::CallFailed { error, .. } = read(failed) else { panic!("another change") };
    assert_eq!((error.kind, error.retry, error.operation), (ErrorKind::Unexpected, Retry::Never, None));
}

#[test]
fn l6_settings_of_a_newer_version_are_read_from_an_event() {
    let line = r#"{"v":1,"n":"creating","t":"2026-01-01T00:00:00Z","c":{"create_intended":{"provider":"one",
        "generation":1,"goal":"running","traits":{"restart":"always","config":"a","recovery":
        {"max_attempts":9,"moon":"full"}}}}}"#;
    let event = WorkerStateEvent::from_stored(&stored(1, line)).unwrap();
    let recovery = Worker::apply(None, &event).unwrap().traits.recovery.unwrap();
    assert_eq!(*recovery, RecoverySettings { max_attempts: 9, ..RecoverySettings::default() });
}

#[test]
fn l6_a_change_that_a_newer_version_knows_counts_by_its_states() {
    let known = begun();
    for change in [r#""hibernated""#, r#"{"hibernated":{"depth":3,"why":["cold"]}}"#, r#"{"hibernated":7}"#] {
        let line =
            format!(r#"{{"v":1,"o":"creating","n":"starting","t":"2026-01-01T00:00:00Z","c":{change}}}"#);
        let event = WorkerStateEvent::from_stored(&stored(2, &line)).unwrap();
        assert_eq!((&event.change, event.event_type()), (&Change::Unknown, EventType::Unknown), "{change}");
        let worker = Worker::apply(Some(known.clone()), &event).unwrap();
        assert_eq!((worker.state, worker.version), (Some(WorkerState::Starting), 2));
        assert_eq!(worker.pending, known.pending);
    }
}

#[test]
fn l6_a_newer_form_is_refused_with_both_versions_named() {
    for line in [r#"{"v":3,"t":"2026-01-01T00:00:00Z","c":"created"}"#, r#"{"v":3,"everything":"else"}"#] {
        let error = WorkerStateEvent::from_stored(&stored(2, line)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("form 3") && text.contains("knows 1") && text.contains("later one"), "{text}");
        let error = Worker::from_bytes(line.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}

#[test]
fn l6_what_cannot_be_understood_is_corrupt_and_says_where() {
    for line in ["", "{", "null", r#"{"v":1}"#, r#"{"v":1,"t":"2026-01-01T00:00:00Z","c":{"started":{}}}"#] {
        let error = WorkerStateEvent::from_stored(&stored(12, line)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{line}: {error}");
        assert_eq!(error.context_value("position"), Some("12"));
        assert!(error.context_value("worker").is_some());
        assert_eq!(Worker::from_bytes(line.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

fn begun() -> Worker {
    let event = WorkerStateEvent {
        version: 1,
        old_state: None,
        new_state: Some(WorkerState::Creating),
        ..events().swap_remove(0)
    };
    Worker::apply(None, &event).unwrap()
}

#[test]
fn l6_the_fold_is_read_as_it_was_written() {
    let mut worker = begun();
    for mut event in events().into_iter().skip(1) {
        event.old_state = worker.state;
        event.new_state = Some(WorkerState::Running);
        worker = Worker::apply(Some(worker), &event).unwrap();
        assert_eq!(Worker::from_bytes(&worker.to_bytes().unwrap()).unwrap(), worker);
    }
}

#[test]
fn l6_a_log_that_does_not_add_up_is_not_folded() {
    let worker = begun();
    let event = |version, old| WorkerStateEvent {
        version,
        old_state: old,
        new_state: Some(WorkerState::Starting),
        ..events().swap_remove(1)
    };
    let creating = Some(WorkerState::Creating);
    assert!(Worker::apply(Some(worker.clone()), &event(2, creating)).is_some());
    assert!(Worker::apply(Some(worker.clone()), &event(3, creating)).is_none(), "one is missing");
    assert!(Worker::apply(Some(worker.clone()), &event(1, creating)).is_none(), "one is there twice");
    assert!(Worker::apply(Some(worker), &event(2, None)).is_none(), "it begins twice");
    assert!(Worker::apply(None, &event(1, None)).is_none(), "it begins without a creation");
}
