use hodei_worker_core::{
    lifecycle::{DegradedBy, HealthChange},
    model::{FlappingConfig, HealthCheckConfig, Probe},
    quantity::HumanDuration,
};

use super::*;
use crate::health::{check::Check, verdict::Verdict};

fn tcp() -> HealthCheckConfig {
    HealthCheckConfig::new(Probe::Tcp { port: 80 })
}

/// What each finding, one every 10 s, changes.
fn play(check: &HealthCheckConfig, findings: impl IntoIterator<Item = Finding>) -> Vec<Vec<&'static str>> {
    let mut verdict = Verdict::new([check]);
    let each = (0..).zip(findings);
    each.map(|(n, finding)| verdict.record(0, secs(n * 10), finding).iter().map(word).collect()).collect()
}

fn word(change: &HealthChange) -> &'static str {
    match change {
        HealthChange::Healthy => "healthy",
        HealthChange::Unhealthy { .. } => "unhealthy",
        HealthChange::Degraded { by: DegradedBy::Latency, .. } => "slow",
        HealthChange::Degraded { .. } => "flapping",
        HealthChange::Restored { by: DegradedBy::Latency } => "quick",
        HealthChange::Restored { .. } => "calm",
        _ => "?",
    }
}

const NOTHING: Vec<&str> = Vec::new();

#[test]
fn l2_thresholds_count_in_a_row() {
    let check = tcp().thresholds(2, 3);
    let told = play(
        &check,
        [well(), unwell(), well(), well(), unwell(), unwell(), well(), unwell(), unwell(), unwell()],
    );
    let mut expected = vec![NOTHING; 10];
    expected[3] = vec!["healthy"];
    expected[7] = vec!["flapping"];
    expected[9] = vec!["unhealthy"];
    assert_eq!(told[..7], expected[..7]);
    assert_eq!(told[9], expected[9]);
}

#[test]
fn l2_what_stays_unhealthy_is_told_again_now_and_then() {
    let told = play(&tcp().thresholds(1, 2), (0..6).map(|_| unwell()));
    let unhealthy = || vec!["unhealthy"];
    assert_eq!(told, [NOTHING, unhealthy(), NOTHING, unhealthy(), NOTHING, unhealthy()]);
}

#[test]
fn l2_failures_in_the_start_up_grace_do_not_count_until_a_success_ends_it() {
    let check = tcp().starting_for(HumanDuration::secs(60)).thresholds(1, 1);
    assert_eq!(play(&check, (0..6).map(|_| unwell())), vec![NOTHING; 6]);
    assert_eq!(play(&check, (0..7).map(|_| unwell()))[6], ["unhealthy"]);
    assert_eq!(play(&check, [unwell(), well(), unwell()]), [NOTHING, vec!["healthy"], vec!["unhealthy"]]);
}

#[test]
fn l2_slow_successes_degrade_and_quick_ones_restore() {
    let mut check = tcp().slow_after(HumanDuration::millis(300));
    check.slow_threshold = 2;
    let took = |millis| Finding::Success { took: Duration::from_millis(millis) };
    let told = play(&check, [took(400), took(400), took(100), took(400), took(100), took(300)]);
    assert_eq!(told, [vec!["healthy"], vec!["slow"], NOTHING, NOTHING, NOTHING, vec!["quick"]]);
    let mut verdict = Verdict::new([&check]);
    verdict.record(0, secs(0), took(350));
    let told = verdict.record(0, secs(10), took(350));
    let reason = "TCP check of port 80: it takes 350ms, which is longer than 300ms".to_owned();
    assert_eq!(told, [HealthChange::Degraded { by: DegradedBy::Latency, reason }]);
}

#[test]
fn l2_flapping_degrades_and_holds_a_recovery_back_until_it_is_calm() {
    let calm = FlappingConfig::new(4, HumanDuration::secs(100), HumanDuration::secs(50));
    let check = tcp().flapping(calm).thresholds(1, 2);
    let told = play(
        &check,
        [
            well(),   // 0
            unwell(), // 10: one change
            well(),   // 20: two
            unwell(), // 30: three
            well(),   // 40: four
            unwell(), // 50: five
            unwell(), // 60
            well(),   // 70: six, and the last
            well(),   // 80
            well(),   // 90
            well(),   // 100
            well(),   // 110
            well(),   // 120: calm for 50 s
            well(),   // 130
        ],
    );
    let mut expected = vec![NOTHING; 14];
    expected[0] = vec!["healthy"];
    expected[4] = vec!["flapping"];
    expected[6] = vec!["unhealthy"];
    expected[12] = vec!["calm", "healthy"];
    assert_eq!(told, expected);
}

#[test]
fn l2_changes_that_lie_far_apart_are_no_flapping() {
    let config = FlappingConfig::new(3, HumanDuration::secs(25), HumanDuration::secs(50));
    let check = tcp().flapping(config).thresholds(1, 9);
    let slowly = (0..20).map(|n| if n % 4 < 2 { well() } else { unwell() });
    assert!(play(&check, slowly).concat().iter().all(|word| *word == "healthy"));
    let never = tcp().flapping(FlappingConfig::never()).thresholds(1, 9);
    let wildly = (0..50).map(|n| if n % 2 == 0 { well() } else { unwell() });
    assert_eq!(play(&never, wildly).concat(), ["healthy"]);
}

#[test]
fn l2_calm_comes_with_time_alone() {
    let config = FlappingConfig::new(2, HumanDuration::secs(100), HumanDuration::secs(50));
    let mut verdict = Verdict::new([&HealthCheckConfig::new(Probe::Native).flapping(config)]);
    for (age, finding) in [(0, well()), (1, unwell()), (2, well())] {
        verdict.record(0, secs(age), finding);
    }
    assert_eq!(verdict.settles_at(0), Some(secs(52)));
    assert_eq!(verdict.settle(secs(51)), []);
    let calm = [HealthChange::Restored { by: DegradedBy::Flapping }, HealthChange::Healthy];
    assert_eq!(verdict.settle(secs(52)), calm);
}

#[test]
fn l2_a_worker_is_healthy_when_all_its_checks_are_and_unhealthy_when_one_is() {
    let (one, other) = (tcp(), HealthCheckConfig::new(Probe::command(["true", "secret"])).thresholds(1, 1));
    let mut verdict = Verdict::new([&one, &other]);
    assert_eq!(verdict.record(0, secs(0), well()), []);
    assert_eq!(verdict.record(1, secs(0), well()), [HealthChange::Healthy]);
    let reason = "command check `true`: refused".to_owned();
    assert_eq!(verdict.record(1, secs(10), unwell()), [HealthChange::Unhealthy { reason }]);
    assert_eq!(verdict.record(0, secs(10), well()), []);
    assert_eq!(verdict.record(1, secs(20), well()), [HealthChange::Healthy]);
    // Asked again, it says how it is.
    assert_eq!(verdict.again(), [HealthChange::Healthy]);
}

#[test]
fn l2_what_could_not_be_found_out_says_nothing() {
    let mut verdict = Verdict::new([&tcp().thresholds(2, 2)]);
    let unknown = || Finding::unknown("no answer from the engine");
    for finding in [unwell(), unknown(), well(), unknown()] {
        assert_eq!(verdict.record(0, secs(0), finding), []);
    }
    assert_eq!(verdict.record(0, secs(0), well()), [HealthChange::Healthy]);
}

#[test]
fn l2_a_reason_names_the_check_and_how_often_it_failed() {
    let mut check = Check::new(&HealthCheckConfig::new(Probe::http(8080, "/live?token=x")));
    check.record(secs(0), Finding::failure("it answered 503"));
    // Tried again soon, since it was not well yet; that does not count twice.
    check.record(secs(1), Finding::failure("it answered 503"));
    check.record(secs(10), Finding::failure("it answered 503"));
    assert_eq!(
        check.reason(),
        "HTTP check of /live at port 8080: it answered 503 (2 times in a row)".to_owned()
    );
}
