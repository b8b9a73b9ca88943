use super::*;
use crate::{
    lifecycle::{Change, DegradedBy, Escalation, Pending, Strategy},
    quantity::ByteSize,
    status::FailureClass,
};

#[test]
fn l3_a_person_who_starts_an_escalated_worker_gives_it_new_tries() {
    let mut story = Story::running(ON_FAILURE);
    for n in 1.. {
        story.ends(&format!("r{n}"), 1);
        if story.worker().escalated().is_some() {
            break;
        }
        if story.worker().pending.is_none() {
            story.due();
        }
        if matches!(story.worker().pending, Some(Pending::Delete { .. })) {
            story.done(Operation::Delete);
            story.created();
        }
        story.now = 0;
        story.runs(&format!("r{}", n + 1));
    }
    assert_eq!(
        (story.state(), story.worker().escalated()),
        (WorkerState::Failed, Some(Escalation::CrashLoop))
    );
    story.start();
    assert_eq!(story.worker().escalated(), None);
    assert_eq!(story.worker().recovery.as_ref().unwrap().attempts, 0);
    story.runs("by-hand");
    story.ends("by-hand", 1);
    assert_eq!(story.worker().escalated(), None, "it is tried again");
}

#[test]
fn l2_an_escalated_worker_that_still_runs_can_be_started_stopped_and_removed() {
    for command in ["start", "stop", "remove"] {
        let mut story = Story::running(RestartPolicy::OnFailure { max_retries: Some(0) });
        story.ill();
        assert_eq!((story.state(), story.worker().alive), (WorkerState::Failed, true));
        let call = match command {
            "start" => story.start(),
            "stop" => story.stop(0),
            _ => story.remove(),
        };
        assert_eq!(call, Some(Call::Stop { grace: None }));
        let next = story.ends("r1", 0);
        match command {
            "start" => assert_eq!(next, start_after("r1")),
            "stop" => assert_eq!((next, story.state()), (None, WorkerState::Stopped)),
            _ => assert_eq!(next, DELETE),
        }
    }
}

#[test]
fn l4_an_ill_worker_that_nobody_may_restart_gets_less_work() {
    let mut story = Story::running(RestartPolicy::Never);
    assert_eq!(story.ill(), None);
    assert!(story.told(EventType::Unhealthy));
    assert_eq!((story.state(), story.worker().alive), (WorkerState::Degraded, true));
    story.well();
    assert_eq!(story.state(), WorkerState::Running);
}

#[test]
fn l2_what_degraded_a_run_is_over_with_it() {
    let mut story = Story::running(RestartPolicy::Always);
    let reason = "slow".to_owned();
    story.then(&Input::Health(HealthChange::Degraded { by: DegradedBy::Latency, reason }));
    assert_eq!(story.state(), WorkerState::Degraded);
    story.ends("r1", 0);
    story.runs("r2");
    assert_eq!((story.state(), story.worker().degraded.len()), (WorkerState::Running, 0));
}

/// Its node does not answer for longer than is waited.
fn lost(restart: RestartPolicy) -> (Story, Option<Call>) {
    let mut story = Story::running(restart);
    let unknown = status_of(story.generation(), WorkerPhase::Unknown, Some("r1"));
    assert_eq!(story.then(&observed(unknown.clone())), None);
    assert_eq!((story.state(), story.worker().alive), (WorkerState::Degraded, true));
    // A check that fails says nothing new, nor does the same once more.
    assert_eq!(story.ill(), None);
    assert_eq!(story.then(&observed(unknown)), None);
    let due = story.worker().due(&story.settings);
    assert_eq!(due, at(0).checked_add(story.settings.node_loss.get()).ok());
    story.now = story.settings.node_loss.as_secs() - 1;
    assert_eq!(story.then(&Input::Due), None);
    assert!(story.last.is_empty() && story.worker().escalated().is_none());
    story.now += 1;
    // What was told is old by now: it is looked at.
    assert_eq!(story.then(&Input::Due), Some(Call::Observe));
    assert!(story.last.events.is_empty());
    let call = story.looked(WorkerPhase::Unknown);
    assert_eq!(story.worker().escalated(), Some(Escalation::NodeLost));
    (story, call)
}

#[test]
fn l3_a_worker_that_was_told_to_be_lost_and_is_back_is_left_alone() {
    let mut story = Story::running(ON_FAILURE);
    story.then(&observed(status_of(story.generation(), WorkerPhase::Unknown, Some("r1"))));
    story.now = 3600;
    assert_eq!(story.then(&Input::Due), Some(Call::Observe));
    assert_eq!(story.looked(WorkerPhase::Running), None);
    assert_eq!((story.state(), story.worker().escalated()), (WorkerState::Running, None));
    assert_eq!(story.worker().due(&story.settings), None);
}

#[test]
fn l3_a_look_that_fails_is_repeated_after_a_pause_and_decides_nothing() {
    let mut story = Story::running(ON_FAILURE);
    story.then(&observed(status_of(story.generation(), WorkerPhase::Unknown, Some("r1"))));
    story.now = 60;
    assert_eq!(story.then(&Input::Due), Some(Call::Observe));
    assert_eq!(story.failed(Operation::Status, ErrorKind::Unavailable), None);
    assert_eq!((story.state(), story.worker().escalated()), (WorkerState::Degraded, None));
    assert!(story.worker().due(&story.settings).is_some_and(|due| due > at(60)));
    story.runs("r1");
    assert_eq!((story.state(), story.worker().due(&story.settings)), (WorkerState::Running, None));
}

#[test]
fn l3_a_worker_whose_node_is_lost_is_made_anew_once_nothing_of_it_is_left() {
    let (mut story, call) = lost(ON_FAILURE);
    assert_eq!((call, story.state()), (DELETE, WorkerState::Recovering));
    // The cluster waits for the node: a person is called, and it goes on being tried.
    assert_eq!(story.failed(Operation::Delete, ErrorKind::Timeout), None);
    assert_eq!(story.worker().escalated(), Some(Escalation::NodeLost));
    assert_eq!(story.due(), DELETE);
    assert_eq!(story.gone(), Some(Call::Create));
    assert_eq!((story.generation().get(), story.worker().escalated()), (2, None));
    story.created();
    story.runs("r2");
    assert_eq!((story.state(), story.worker().degraded.len()), (WorkerState::Running, 0));
}

#[test]
fn l3_a_worker_whose_node_is_lost_and_that_nobody_may_restart_is_given_to_a_person() {
    let (mut story, call) = lost(RestartPolicy::Never);
    assert_eq!((call, story.state()), (None, WorkerState::Degraded));
    assert_eq!(story.worker().due(&story.settings), None);
    // It answers again: it has run all the time.
    story.runs("r1");
    assert_eq!((story.state(), story.worker().escalated()), (WorkerState::Running, None));
}

#[test]
fn l3_a_person_hears_of_a_stop_that_waits_for_a_lost_node() {
    let mut story = Story::running(ON_FAILURE);
    story.stop(0);
    story.failed(Operation::Stop, ErrorKind::Timeout);
    story.then(&observed(status_of(story.generation(), WorkerPhase::Unknown, Some("r1"))));
    story.now = 60;
    assert_eq!(story.then(&Input::Due), Some(Call::Observe));
    story.looked(WorkerPhase::Unknown);
    assert_eq!(story.worker().escalated(), Some(Escalation::NodeLost));
    assert!(matches!(story.due(), Some(Call::Stop { .. })));
    story.ends("r1", 0);
    assert_eq!((story.state(), story.worker().escalated()), (WorkerState::Stopped, None));
}

#[test]
fn l2_a_checked_worker_runs_once_it_was_found_well() {
    let mut story = Story::of(traits(ON_FAILURE, true));
    story.created();
    story.runs("r1");
    assert_eq!(story.state(), WorkerState::Starting);
    story.well();
    assert_eq!(story.state(), WorkerState::Running);
}

#[test]
fn l5_a_drain_ends_with_the_last_job_or_with_a_kill() {
    let mut story = Story::running(ON_FAILURE);
    assert_eq!(story.stop(2), None);
    story.now = 10;
    assert_eq!(story.then(&Input::Idle), Some(Call::Stop { grace: Some(Duration::from_secs(15)) }));

    let mut story = Story::running(ON_FAILURE);
    story.stop(2);
    assert_eq!(story.due(), Some(Call::Stop { grace: Some(Duration::ZERO) }));
}

#[test]
fn l5_jobs_of_a_host_that_is_gone_are_waited_for_only_where_the_worker_tells_of_them() {
    for reports in [false, true] {
        let mut traits = traits(ON_FAILURE, false);
        traits.reports = reports;
        let mut story = Story::of(traits);
        story.created();
        story.runs("r1");
        story.stop(1);
        let call = story.then(&Input::TakenOver { lease: 2, owner_epoch: 1 });
        assert_eq!(call.is_none(), reports);
    }
}

#[test]
fn l5_a_stop_can_only_become_shorter() {
    let mut story = Story::of({
        let mut traits = traits(ON_FAILURE, false);
        traits.stop_grace = Some(crate::quantity::HumanDuration::secs(5));
        traits
    });
    story.created();
    story.runs("r1");
    story.stop(0);
    let again = |seconds| {
        let grace = Some(Duration::from_secs(seconds));
        Input::Command(Command::Stop { grace, jobs: 0 })
    };
    assert_eq!(story.then(&again(60)), None, "its own grace is shorter");
    assert_eq!(story.then(&again(1)), Some(Call::Stop { grace: Some(Duration::from_secs(1)) }));
}

#[test]
fn l8_memory_is_enlarged_and_another_provider_taken_where_that_is_allowed() {
    let mut own = traits(ON_FAILURE, false);
    own.memory_limit = Some(ByteSize::new(100));
    own.recovery = Some(Box::new(RecoverySettings {
        memory_max: Some(ByteSize::new(120)),
        fail_over: true,
        ..RecoverySettings::default()
    }));
    let mut story = Story::of(own);
    story.alternatives = vec![provider("two")];
    story.created();
    story.runs("r1");
    let mut status = exited_of(story.generation(), "r1", 137);
    status.failure = Some(FailureClass::OutOfMemory);
    assert_eq!(story.then(&observed(status)), DELETE);
    story.done(Operation::Delete);
    assert_eq!(story.worker().traits.memory_limit, Some(ByteSize::new(120)));
    assert_eq!(story.failed(Operation::Create, ErrorKind::Capacity), None, "the second try waits");
    let planned = story.worker().recovery.as_ref().unwrap().planned;
    assert!(matches!(planned, Some((Strategy::FailOver, _))));
    assert_eq!(story.due(), Some(Call::Create));
    assert_eq!(story.worker().provider, provider("two"));
    assert_eq!(story.worker().traits.memory_limit, Some(ByteSize::new(120)), "it stays enlarged");
}

#[test]
fn l3_a_failure_that_is_told_twice_counts_once() {
    let mut story = Story::of(traits(ON_FAILURE, false));
    story.created();
    let mut unable = status_of(story.generation(), WorkerPhase::Exited, None);
    unable.failure = Some(FailureClass::Secret);
    story.then(&observed(unable.clone()));
    let planned = story.worker().recovery.clone();
    assert_eq!(planned.as_ref().unwrap().attempts, 1);
    assert_eq!(story.then(&observed(unable)), None);
    assert_eq!(story.worker().recovery, planned);
}

#[test]
fn l3_a_run_of_a_minute_makes_the_next_failure_a_first_one() {
    let mut story = Story::running(ON_FAILURE);
    story.ends("r1", 1);
    story.runs("r2");
    assert_eq!(story.worker().recovery.as_ref().unwrap().attempts, 1);
    story.due();
    assert!(story.last.events.iter().any(|event| event.change == Change::Recovered));
    assert_eq!(story.ends("r2", 1), start_after("r2"), "at once again");
}
