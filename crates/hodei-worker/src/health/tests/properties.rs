//! Random findings against what must hold of all.

use hodei_worker_core::{
    lifecycle::{DegradedBy, HealthChange},
    model::{FlappingConfig, HealthCheckConfig, Probe},
    quantity::HumanDuration,
};

use super::*;
use crate::health::verdict::Verdict;

/// One check's findings as they count: a success or a failure that was not in the grace.
type Counted = Vec<(Duration, bool)>;

fn random_check(random: &mut fastrand::Rng) -> HealthCheckConfig {
    let mut check = HealthCheckConfig::new(Probe::Tcp { port: 1 })
        .thresholds(random.u32(1..4), random.u32(1..4))
        .starting_for(HumanDuration::secs(random.u64(0..60)));
    if random.bool() {
        check = check.slow_after(HumanDuration::millis(500));
        check.slow_threshold = random.u32(1..4);
    }
    let flapping = match random.u32(0..3) {
        0 => FlappingConfig::never(),
        _ => FlappingConfig::new(
            random.u32(2..6),
            HumanDuration::secs(random.u64(1..200)),
            HumanDuration::secs(random.u64(1..100)),
        ),
    };
    check.flapping(flapping)
}

fn in_a_row(counted: &Counted, well: bool) -> usize {
    counted.iter().rev().take_while(|(_, was)| *was == well).count()
}

fn run(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let checks: Vec<_> = (0..random.usize(1..4)).map(|_| random_check(&mut random)).collect();
    let mut verdict = Verdict::new(&checks);
    let mut counted: Vec<Counted> = vec![Vec::new(); checks.len()];
    let (mut healthy, mut unhealthy) = (false, false);
    let mut degraded = std::collections::BTreeSet::new();
    // Some go back and forth, some rarely change.
    let steadiness = random.f64();
    let mut last = true;
    let mut age = Duration::ZERO;
    for _ in 0..300 {
        age += Duration::from_millis(random.u64(1..20_000));
        let n = random.usize(0..checks.len());
        last = if random.f64() < steadiness { last } else { !last };
        let well = last;
        let unknown = random.u32(0..10) == 0;
        let changes = if unknown {
            verdict.record(n, age, Finding::unknown("?"))
        } else if well {
            counted[n].push((age, true));
            verdict.record(n, age, Finding::Success { took: Duration::from_millis(random.u64(0..1000)) })
        } else {
            let begun = counted[n].iter().any(|(_, well)| *well);
            let again = counted[n].last().is_some_and(|(last, _)| age - *last < checks[n].interval.get());
            if begun || (age >= checks[n].start_period.get() && !again) {
                counted[n].push((age, false));
            }
            verdict.record(n, age, unwell())
        };
        for change in changes {
            match change {
                HealthChange::Healthy => {
                    assert!(!healthy, "seed {seed}: told twice");
                    for (check, counted) in checks.iter().zip(&counted) {
                        // None may have failed for too long since it was last well enough.
                        let failures = in_a_row(counted, false);
                        assert!(failures < check.failure_threshold as usize, "seed {seed}");
                        assert!(counted.iter().any(|(_, well)| *well), "seed {seed}");
                    }
                    (healthy, unhealthy) = (true, false);
                }
                HealthChange::Unhealthy { reason } => {
                    assert!(!reason.is_empty());
                    let enough = checks.iter().zip(&counted).any(|(check, counted)| {
                        counted
                            .split(|(_, well)| *well)
                            .any(|failures| failures.len() >= check.failure_threshold as usize)
                    });
                    assert!(enough, "seed {seed}: unhealthy too early");
                    assert!(!unknown || unhealthy, "seed {seed}: unhealthy for want of an answer");
                    (healthy, unhealthy) = (false, true);
                }
                HealthChange::Degraded { by, .. } => {
                    assert!(degraded.insert(by), "seed {seed}: degraded twice");
                    assert!(
                        by != DegradedBy::Latency || checks.iter().any(|check| check.slow_after.is_some())
                    );
                }
                HealthChange::Restored { by } => assert!(degraded.remove(&by), "seed {seed}: it was not"),
                _ => unreachable!(),
            }
        }
        // One that failed for too long just now is unhealthy, whatever the others say.
        let failures = in_a_row(&counted[n], false);
        let counts = counted[n].last().is_some_and(|(last, _)| *last == age);
        if counts && !well && failures >= checks[n].failure_threshold as usize {
            assert!(unhealthy, "seed {seed}: still not unhealthy");
        }
    }
    // A long calm restores everything that is not slow.
    for _ in 0..10 {
        for n in 0..checks.len() {
            age += secs(1000);
            for change in verdict.record(n, age, well()) {
                match change {
                    HealthChange::Healthy => (healthy, unhealthy) = (true, false),
                    HealthChange::Restored { by } => drop(degraded.remove(&by)),
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        }
    }
    assert!(healthy && !unhealthy && degraded.is_empty(), "seed {seed}: {degraded:?}");
}

#[test]
fn l2_random_findings_never_break_what_holds_of_all() {
    for seed in 0..2000 {
        run(seed);
    }
}
