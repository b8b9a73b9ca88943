use super::*;
use crate::lifecycle::{Escalation, Pending};

#[test]
fn l1_a_stop_while_it_is_created_keeps_it_from_being_started() {
    let mut story = Story::of(traits(ON_FAILURE, false));
    assert_eq!(story.stop(0), None);
    assert_eq!(story.created(), None);
    assert_eq!((story.state(), story.worker().created), (WorkerState::Creating, true));
    assert_eq!(story.start(), Some(Call::Start { after: None }));
}

#[test]
fn l1_a_creation_that_begins_the_first_run_is_not_started_again() {
    let mut story = Story::of(traits(RestartPolicy::Never, false));
    assert_eq!(story.ends("r1", 0), None, "it was over before the creation was answered");
    assert_eq!(story.created(), None);
    assert_eq!((story.state(), story.worker().pending.clone()), (WorkerState::Stopped, None));
}

#[test]
fn l1_a_stop_before_the_start_came_through_ends_when_nothing_runs() {
    let mut story = Story::of(traits(ON_FAILURE, false));
    story.created();
    assert_eq!(story.stop(0), Some(Call::Stop { grace: None }));
    assert!(story.last.abandons, "the start is dropped");
    let status = Arc::new(status_of(story.generation(), WorkerPhase::Created, None));
    assert_eq!(
        story.then(&Input::Outcome(Outcome::done(story.generation(), Operation::Stop, Some(status)))),
        None
    );
    assert_eq!(story.state(), WorkerState::Stopped);
    // The start was sent already, and comes through after all.
    assert_eq!(story.runs("r1"), Some(Call::Observe));
    let status = Arc::new(status_of(story.generation(), WorkerPhase::Running, Some("r1")));
    let seen = Input::Outcome(Outcome::done(story.generation(), Operation::Status, Some(status)));
    assert_eq!(story.then(&seen), Some(Call::Stop { grace: None }));
}

#[test]
fn l1_a_start_while_it_stops_starts_it_when_it_has_stopped() {
    let mut story = Story::running(ON_FAILURE);
    story.stop(0);
    assert_eq!(story.start(), None);
    assert_eq!(story.ends("r1", 143), start_after("r1"));
    assert_eq!(story.state(), WorkerState::Starting);
}

#[test]
fn l1_a_removal_during_an_unhealthy_restart_does_not_start_it_again() {
    let mut story = Story::running(ON_FAILURE);
    story.ill();
    assert_eq!(story.state(), WorkerState::Recovering);
    story.remove();
    assert_eq!(story.state(), WorkerState::Stopping);
    assert_eq!(story.ends("r1", 0), DELETE);
    assert_eq!(story.done(Operation::Delete), None);
    assert_eq!(story.worker().state, None);
}

#[test]
fn l1_a_removal_during_a_replacement_makes_no_new_generation() {
    let mut story = Story::running(RestartPolicy::Always);
    story.in_place = false;
    assert_eq!(story.ends("r1", 1), DELETE);
    assert_eq!(story.remove(), DELETE);
    assert_eq!(story.done(Operation::Delete), None);
    assert_eq!((story.worker().state, story.generation()), (None, Generation::FIRST));
}

#[test]
fn l1_the_end_of_what_is_replaced_is_no_new_failure() {
    let mut story = Story::running(ON_FAILURE);
    story.ill();
    story.in_place = false;
    story.ends("r1", 0);
    assert!(matches!(story.worker().pending, Some(Pending::Delete { replace: true, .. })));
    let attempts = story.worker().recovery.as_ref().unwrap().attempts;
    assert_eq!(story.gone(), Some(Call::Create));
    assert_eq!(story.worker().recovery.as_ref().unwrap().attempts, attempts);
    assert_eq!(story.generation().get(), 2);
}

#[test]
fn l1_a_worker_may_be_created_anew_after_its_removal() {
    let mut story = Story::running(ON_FAILURE);
    story.remove();
    story.ends("r1", 0);
    story.done(Operation::Delete);
    let version = story.worker().version;
    assert_eq!(story.then(&create(traits(ON_FAILURE, false))), Some(Call::Create));
    assert_eq!(story.worker().version, version + 1, "a stream goes on");
    assert_eq!(story.generation().get(), 2, "what comes late of the former is not taken for this one's");
}

#[test]
fn l1_a_provider_that_keeps_nothing_tells_each_end_once() {
    let mut story = Story::running(ON_FAILURE);
    story.keeps = false;
    assert_eq!(story.ends("r1", 1), DELETE);
    assert_eq!(story.gone(), Some(Call::Create));
    story.created();
    story.runs("r2");
    story.ends("r2", 1);
    assert_eq!(story.state(), WorkerState::Recovering, "the second try waits");
    assert_eq!(story.gone(), None);
    assert_eq!(story.worker().recovery.as_ref().unwrap().attempts, 2);
    assert_eq!(story.due(), Some(Call::Create));
}

#[test]
fn l1_a_platform_that_refuses_the_first_start_is_not_asked_for_ever() {
    let mut story = Story::of(traits(ON_FAILURE, false));
    story.created();
    assert_eq!(story.failed(Operation::Start, ErrorKind::Unsupported), None);
    assert_eq!(story.worker().escalated(), Some(Escalation::Hopeless));
}

#[test]
fn l3_a_stop_that_is_always_refused_is_told_to_a_person_and_goes_on_being_tried() {
    let mut story = Story::running(ON_FAILURE);
    let stop = story.stop(0);
    assert!(matches!(stop, Some(Call::Stop { .. })));
    let mut calls = 1;
    while story.worker().escalated().is_none() {
        assert!(calls < 20, "nobody hears of it");
        for _ in 0..20 {
            story.failed(Operation::Stop, ErrorKind::Unavailable);
            assert_eq!(story.worker().escalated(), None, "an outage is no refusal");
            assert_eq!(story.due(), stop);
        }
        story.failed(Operation::Stop, ErrorKind::PermissionDenied);
        assert_eq!(story.due(), stop);
        calls += 1;
    }
    assert_eq!(story.worker().escalated(), Some(Escalation::Refused));
    story.failed(Operation::Stop, ErrorKind::PermissionDenied);
    assert!(!story.told(EventType::Escalated), "once is enough");
    assert_eq!(story.due(), stop, "it is not left running");
    story.ends("r1", 0);
    assert_eq!((story.state(), story.worker().escalated()), (WorkerState::Stopped, None));
}

#[test]
fn l3_a_provider_that_says_it_has_stopped_what_runs_on_is_told_of() {
    let mut story = Story::running(ON_FAILURE);
    let stop = story.stop(0);
    for calls in 1.. {
        assert!(calls < 20, "nobody hears of it");
        let status = status_of(story.generation(), WorkerPhase::Running, Some("r1"));
        let done = Outcome::done(story.generation(), Operation::Stop, Some(Arc::new(status)));
        story.then(&Input::Outcome(done));
        if story.worker().escalated().is_some() {
            break;
        }
        assert_eq!(story.due(), stop);
    }
    assert_eq!(story.worker().escalated(), Some(Escalation::Refused));
    assert_eq!(story.due(), stop, "it is not left running");
}

#[test]
fn l3_outages_take_no_tries_from_a_start() {
    let mut story = Story::of(traits(ON_FAILURE, false));
    let create = Some(Call::Create);
    for _ in 0..20 {
        story.failed(Operation::Create, ErrorKind::Unavailable);
        assert_eq!(story.due(), create);
    }
    let generation = story.generation();
    let again = Error::new(ErrorKind::Unexpected, "no").with_retry(Retry::IfIdempotent).report();
    for _ in 0..5 {
        story.then(&Input::Outcome(Outcome::failed(generation, Operation::Create, again.clone())));
        assert_eq!((story.state(), story.due()), (WorkerState::Creating, create.clone()));
    }
    story.then(&Input::Outcome(Outcome::failed(generation, Operation::Create, again)));
    assert_ne!(story.state(), WorkerState::Creating, "that was the last");
}

#[test]
fn l3_what_was_planned_for_after_a_refused_stop_is_done() {
    let mut story = Story::running(ON_FAILURE);
    let stop = story.ill();
    assert!(matches!(stop, Some(Call::Stop { .. })));
    for _ in 0..10 {
        story.failed(Operation::Stop, ErrorKind::PermissionDenied);
        assert_eq!(story.due(), stop);
    }
    assert_eq!(story.worker().escalated(), Some(Escalation::Refused));
    assert_eq!(story.ends("r1", 143), start_after("r1"), "its time has come long since");
    assert_eq!((story.state(), story.worker().escalated()), (WorkerState::Starting, None));
}

#[test]
fn l1_a_start_that_is_always_in_conflict_comes_to_an_end() {
    let mut story = Story::of(traits(RestartPolicy::Never, false));
    story.created();
    for _ in 0..20 {
        story.failed(Operation::Start, ErrorKind::Conflict);
        if story.worker().pending.is_none() {
            break;
        }
        assert_eq!(story.due(), Some(Call::Start { after: None }));
    }
    assert_eq!(story.state(), WorkerState::Failed);
}

#[test]
fn p6_an_outage_of_the_provider_is_no_failure_of_its_workers() {
    let mut story = Story::of(traits(ON_FAILURE, false));
    for _ in 0..50 {
        assert_eq!(story.failed(Operation::Create, ErrorKind::Unavailable), None);
        assert_eq!(story.due(), Some(Call::Create));
    }
    assert_eq!((story.state(), story.worker().recovery.clone()), (WorkerState::Creating, None));
}

#[test]
fn l1_what_is_stopped_or_removed_and_is_not_there_is_so_already() {
    let mut story = Story::running(ON_FAILURE);
    story.stop(0);
    story.failed(Operation::Stop, ErrorKind::NotFound);
    assert_eq!(story.state(), WorkerState::Stopped);
    assert_eq!(story.remove(), DELETE);
    story.failed(Operation::Delete, ErrorKind::NotFound);
    assert_eq!(story.worker().state, None);
}

#[test]
fn l1_what_was_made_for_a_removed_worker_goes_though_a_stop_took_the_worker_itself() {
    let mut story = Story::running(ON_FAILURE);
    let remove = Command::Remove { grace: None, jobs: 0, keep_volumes: false };
    assert!(matches!(story.then(&Input::Command(remove)), Some(Call::Stop { .. })));
    assert_eq!(story.gone(), Some(Call::Delete { keep_volumes: false }), "it may have had volumes");
    story.failed(Operation::Delete, ErrorKind::NotFound);
    assert_eq!(story.worker().state, None);
    // Nobody is asked where volumes are to stay.
    let mut story = Story::running(ON_FAILURE);
    assert!(matches!(story.remove(), Some(Call::Stop { .. })));
    assert_eq!(story.gone(), None);
    assert_eq!(story.worker().state, None);
}

#[test]
fn l1_late_news_of_earlier_runs_and_generations_change_nothing() {
    let mut story = Story::running(RestartPolicy::Always);
    story.ends("r1", 1);
    story.runs("r2");
    let before = story.worker().clone();
    assert_eq!(story.ends("r1", 1), None);
    assert_eq!(story.runs("r1"), None);
    let late = Outcome::done(
        Generation::FIRST,
        Operation::Start,
        Some(Arc::new(exited_of(Generation::FIRST, "r1", 1))),
    );
    assert_eq!(story.then(&Input::Outcome(late)), None);
    assert_eq!(*story.worker(), before);
    // A run that was never seen may be later or earlier: the provider is asked, and believed.
    assert_eq!(story.ends("r0", 1), Some(Call::Observe));
    assert_eq!(*story.worker(), before);
}

#[test]
fn l1_a_run_that_somebody_else_began_is_taken_over() {
    let mut story = Story::running(RestartPolicy::Never);
    story.ends("r1", 0);
    assert_eq!(story.then(&Input::TakenOver { lease: 1, owner_epoch: 1 }), Some(Call::Observe));
    let status = Arc::new(status_of(story.generation(), WorkerPhase::Running, Some("r7")));
    story.then(&Input::Outcome(Outcome::done(story.generation(), Operation::Status, Some(status))));
    assert_eq!((story.state(), story.worker().run.clone()), (WorkerState::Running, Some(RunId::new("r7"))));
}
