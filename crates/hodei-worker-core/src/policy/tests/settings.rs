use super::*;
use crate::settings::Problems;

fn problems(settings: &PolicySettings) -> Vec<String> {
    let mut problems = Problems::new();
    settings.validate(&mut problems);
    problems.iter().map(|problem| problem.path.clone()).collect()
}

#[test]
fn p5_the_defaults_are_good_and_survive_serde() {
    let settings = PolicySettings::default();
    assert_eq!(problems(&settings), Vec::<String>::new());
    let value = serde_json::to_value(&settings).unwrap();
    assert_eq!(value["timeouts"]["create"], "10m");
    assert_eq!(serde_json::from_value::<PolicySettings>(value).unwrap(), settings);
}

#[test]
fn p5_what_is_not_named_keeps_its_default() {
    let value = serde_json::json!({
        "timeouts": { "margin": "5s" },
        "limits": { "reads": { "at_once": 8 }, "rate": { "per_second": 20 } },
    });
    let settings: PolicySettings = serde_json::from_value(value).unwrap();
    assert_eq!(settings.timeouts.margin.as_secs(), 5);
    assert_eq!(settings.timeouts.create, PolicySettings::default().timeouts.create);
    assert_eq!((settings.limits.reads.at_once, settings.limits.long.at_once), (8, 256));
    assert_eq!(settings.limits.rate.unwrap().burst, 20);
}

#[test]
fn p5_unknown_fields_and_bad_values_are_refused() {
    for wrong in [
        serde_json::json!({ "retries": {} }),
        serde_json::json!({ "retry": { "attemps": 3 } }),
        serde_json::json!({ "breaker": { "open": 5 } }),
    ] {
        assert!(serde_json::from_value::<PolicySettings>(wrong.clone()).is_err(), "{wrong}");
    }
    let mut settings = PolicySettings::default();
    settings.retry.attempts = 0;
    settings.retry.base = Duration::from_secs(60).into();
    settings.retry.budget.per_call = f64::NAN;
    settings.breaker.probes = 0;
    settings.limits.long.at_once = 0;
    settings.limits.rate = Some(crate::policy::RateSettings { per_second: 0, burst: 1 });
    settings.timeouts.margin = Duration::ZERO.into();
    settings.cache.workers = 0;
    let expected = [
        "retry.attempts",
        "retry.base",
        "retry.budget.per_call",
        "breaker.probes",
        "limits.long.at_once",
        "limits.rate.per_second",
        "limits.rate.burst",
        "timeouts.margin",
        "cache.workers",
    ];
    assert_eq!(problems(&settings), expected);
}

#[test]
fn p5_a_lane_that_is_given_in_part_keeps_its_own_default_for_the_rest() {
    let value = serde_json::json!({"limits": {
        "control": {"queue": 10}, "reads": {"queue": 10}, "long": {"queue": 8192}, "streams": {},
    }});
    let limits = serde_json::from_value::<PolicySettings>(value).unwrap().limits;
    let at_once = [&limits.control, &limits.reads, &limits.long, &limits.streams].map(|lane| lane.at_once);
    assert_eq!(at_once, [64, 64, 256, 32]);
    assert_eq!((limits.long.queue, limits.streams.queue), (8192, 4096));
    let wrong = serde_json::json!({"limits": {"long": {"qeue": 1}}});
    assert!(serde_json::from_value::<PolicySettings>(wrong).is_err());
}
