use super::*;
use crate::{
    lifecycle::{
        Escalation, Strategy,
        recovery::{Case, History, Plan, plan, resized},
    },
    quantity::{ByteSize, HumanDuration},
    settings::Problems,
    status::FailureClass,
};

fn case<'a>(settings: &'a RecoverySettings, history: &'a History, failure: FailureClass) -> Case<'a> {
    Case {
        settings,
        restart: RestartPolicy::OnFailure { max_retries: None },
        failure: Some(failure),
        attempts: 0,
        history,
        can_restart: true,
        can_fail_over: false,
        memory_limit: None,
        chance: 0,
    }
}

fn strategy(case: &Case<'_>) -> Option<Strategy> {
    match plan(case) {
        Plan::Try { strategy, .. } => Some(strategy),
        _ => None,
    }
}

#[test]
fn l3_the_first_try_is_made_at_once_and_each_pause_is_twice_the_last() {
    let settings = RecoverySettings { backoff_max: HumanDuration::secs(6), ..RecoverySettings::default() };
    let pauses: Vec<_> = (1..=6).map(|attempt| settings.pause(attempt, 0).as_millis()).collect();
    assert_eq!(pauses, [0, 1000, 2000, 4000, 6000, 6000]);
    assert_eq!(settings.pause(u32::MAX, 0), Duration::from_secs(6));
}

#[test]
fn l3_chance_shortens_a_pause_by_no_more_than_the_jitter() {
    let settings = RecoverySettings::default();
    for attempt in 2..40 {
        let whole = settings.pause(attempt, 0);
        for chance in [1, 1 << 20, u64::MAX / 2, u64::MAX] {
            let pause = settings.pause(attempt, chance);
            assert!(
                pause <= whole && pause >= whole.mul_f64(0.8),
                "{attempt}, {chance}: {pause:?} of {whole:?}"
            );
        }
        assert!(settings.pause(attempt, u64::MAX) < whole.mul_f64(0.81), "the jitter is used");
    }
}

#[test]
fn l3_all_pauses_together_are_shorter_than_two_minutes() {
    let settings = RecoverySettings::default();
    let total: Duration = (1..=settings.max_attempts).map(|attempt| settings.pause(attempt, 0)).sum();
    assert!(total < Duration::from_secs(120), "T5: {total:?}");
}

#[test]
fn l3_who_fails_again_and_again_is_given_to_a_person() {
    let (settings, history) = (RecoverySettings::default(), History::default());
    let mut case = case(&settings, &history, FailureClass::Application);
    for attempts in 0..settings.max_attempts {
        case.attempts = attempts;
        assert!(matches!(plan(&case), Plan::Try { attempt, .. } if attempt == attempts + 1));
    }
    case.attempts = settings.max_attempts;
    assert_eq!(plan(&case), Plan::Escalate(Escalation::CrashLoop));
}

#[test]
fn l3_the_workers_own_limit_counts_before_the_settings() {
    let (settings, history) = (RecoverySettings::default(), History::default());
    let mut case = case(&settings, &history, FailureClass::Application);
    for limit in [0, 2, 9] {
        case.restart = RestartPolicy::OnFailure { max_retries: Some(limit) };
        case.attempts = limit;
        assert_eq!(plan(&case), Plan::Escalate(Escalation::RetriesExhausted), "{limit}");
        if let Some(before) = limit.checked_sub(1) {
            case.attempts = before;
            assert!(matches!(plan(&case), Plan::Try { .. }), "{limit}: {:?}", plan(&case));
        }
    }
}

#[test]
fn l3_a_policy_is_kept_to() {
    let (settings, history) = (RecoverySettings::default(), History::default());
    let mut case = case(&settings, &history, FailureClass::Application);
    case.failure = None;
    assert_eq!(plan(&case), Plan::Leave, "on failure, and it did not fail");
    case.restart = RestartPolicy::Always;
    assert!(matches!(plan(&case), Plan::Try { strategy: Strategy::Restart, pause: Duration::ZERO, .. }));
    case.restart = RestartPolicy::Never;
    case.failure = Some(FailureClass::Killed);
    assert_eq!(plan(&case), Plan::Leave);
}

#[test]
fn l3_what_could_not_begin_is_tried_again_whatever_happens_at_its_end() {
    use FailureClass as F;
    let (settings, history) = (RecoverySettings::default(), History::default());
    for failure in [F::ImagePull, F::Capacity, F::Secret] {
        let mut case = Case { restart: RestartPolicy::Never, ..case(&settings, &history, failure) };
        assert!(matches!(plan(&case), Plan::Try { .. }), "{failure}");
        case.attempts = settings.max_attempts;
        assert_eq!(plan(&case), Plan::Escalate(Escalation::CrashLoop), "{failure}");
    }
    // It may have run, and must not run twice.
    for failure in [F::Vanished, F::NodeLost, F::Evicted, F::Unknown] {
        let case = Case { restart: RestartPolicy::Never, ..case(&settings, &history, failure) };
        assert_eq!(plan(&case), Plan::Leave, "{failure}");
    }
}

#[test]
fn l8_what_no_try_mends_goes_to_a_person_at_once() {
    use FailureClass as F;
    let settings = RecoverySettings { fail_over: true, ..RecoverySettings::default() };
    let history = History::default();
    for failure in [F::CommandNotFound, F::Configuration, F::ImageNotFound] {
        let case = Case { can_fail_over: true, ..case(&settings, &history, failure) };
        assert_eq!(plan(&case), Plan::Escalate(Escalation::Hopeless), "{failure}");
    }
}

#[test]
fn l8_what_helped_before_is_tried_first() {
    use FailureClass as F;
    let settings = RecoverySettings::default();
    let mut history = History::default();
    assert_eq!(strategy(&case(&settings, &history, F::Application)), Some(Strategy::Restart));
    history.begin(Some(F::Application), Strategy::Restart);
    assert_eq!(
        strategy(&case(&settings, &history, F::Application)),
        Some(Strategy::Restart),
        "not known yet"
    );
    history.end(false);
    assert_eq!(strategy(&case(&settings, &history, F::Application)), Some(Strategy::Recreate));
    history.begin(Some(F::Application), Strategy::Recreate);
    history.end(true);
    assert_eq!(strategy(&case(&settings, &history, F::Application)), Some(Strategy::Recreate));
    assert_eq!(strategy(&case(&settings, &history, F::Killed)), Some(Strategy::Restart), "another failure");
}

#[test]
fn l8_only_the_newest_tries_are_remembered() {
    let mut history = History::default();
    for n in 0..20 {
        history
            .begin(Some(FailureClass::Killed), if n < 12 { Strategy::Recreate } else { Strategy::Restart });
        history.end(true);
    }
    assert_eq!(history.iter().count(), History::KEPT);
    assert!(history.iter().all(|tried| tried.strategy == Strategy::Restart));
}

#[test]
fn l8_memory_grows_only_within_the_limit_that_was_set() {
    let size = |bytes| Some(ByteSize::new(bytes));
    assert_eq!(resized(size(100), None), None, "nobody set one");
    assert_eq!(resized(None, size(100)), None, "it has none to be enlarged");
    assert_eq!(resized(size(100), size(400)), size(150));
    assert_eq!(resized(size(300), size(400)), size(400));
    assert_eq!(resized(size(400), size(400)), None);
    assert_eq!(resized(size(500), size(400)), None, "it is never made smaller");

    let settings = RecoverySettings { memory_max: size(120), ..RecoverySettings::default() };
    let history = History::default();
    let mut case = case(&settings, &history, FailureClass::OutOfMemory);
    case.memory_limit = size(100);
    assert_eq!(strategy(&case), Some(Strategy::Resize));
    case.memory_limit = size(120);
    assert_eq!(strategy(&case), Some(Strategy::Restart));
    case.failure = Some(FailureClass::Killed);
    case.memory_limit = size(100);
    assert_eq!(strategy(&case), Some(Strategy::Restart), "not for want of memory");
}

#[test]
fn l8_another_provider_is_tried_only_where_that_is_allowed() {
    use FailureClass as F;
    for failure in [F::NodeLost, F::Capacity, F::ImagePull] {
        for (fail_over, can_fail_over) in [(false, false), (false, true), (true, false), (true, true)] {
            let settings = RecoverySettings { fail_over, ..RecoverySettings::default() };
            let history = History::default();
            let mut case = Case { can_fail_over, ..case(&settings, &history, failure) };
            assert_eq!(strategy(&case), Some(Strategy::Recreate), "first, where it is");
            case.attempts = 1;
            let moved = strategy(&case) == Some(Strategy::FailOver);
            assert_eq!(moved, fail_over && can_fail_over, "{failure}");
        }
    }
}

#[test]
fn l8_what_cannot_be_started_again_where_it_is_is_made_anew() {
    let (settings, history) = (RecoverySettings::default(), History::default());
    let case = Case { can_restart: false, ..case(&settings, &history, FailureClass::Application) };
    assert_eq!(strategy(&case), Some(Strategy::Recreate));
}

#[test]
fn l3_settings_that_make_no_sense_are_refused_by_field() {
    let settings = RecoverySettings {
        backoff: HumanDuration::secs(60),
        jitter_percent: 101,
        max_attempts: 0,
        ..RecoverySettings::default()
    };
    let mut problems = Problems::default();
    settings.validate(&mut problems);
    let text = format!("{:?}", problems);
    for field in ["backoff", "jitter_percent", "max_attempts"] {
        assert!(text.contains(field), "{field}: {text}");
    }
}
