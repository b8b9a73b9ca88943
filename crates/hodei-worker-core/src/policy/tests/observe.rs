use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use super::*;
use crate::{
    policy::{Stack, names},
    provider::StartOptions,
};

type Measured = Arc<Mutex<BTreeMap<String, f64>>>;

/// Sums up what is measured, by name and labels.
#[derive(Debug, Clone, Default)]
struct Sums(Measured);

struct Sum(Measured, String);

impl Sum {
    fn of(sums: &Sums, key: &Key) -> Arc<Self> {
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Self(Arc::clone(&sums.0), format!("{}[{}]", key.name(), labels.join(","))))
    }
    fn add(&self, value: f64) {
        *self.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }
    fn put(&self, value: f64) {
        self.0.lock().unwrap().insert(self.1.clone(), value);
    }
}

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }
    fn absolute(&self, value: u64) {
        self.put(value as f64);
    }
}
impl GaugeFn for Sum {
    fn increment(&self, value: f64) {
        self.add(value);
    }
    fn decrement(&self, value: f64) {
        self.add(-value);
    }
    fn set(&self, value: f64) {
        self.put(value);
    }
}
impl HistogramFn for Sum {
    fn record(&self, value: f64) {
        self.add(value);
    }
}
impl Recorder for Sums {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Sum::of(self, key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Sum::of(self, key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Sum::of(self, key))
    }
}

impl Sums {
    fn named(&self, name: &str) -> Vec<(String, f64)> {
        let sums = self.0.lock().unwrap();
        let prefix = format!("{name}[");
        sums.iter()
            .filter_map(|(key, value)| {
                Some((key.strip_prefix(&prefix)?.trim_end_matches(']').to_owned(), *value))
            })
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn p6_each_call_is_measured_once_however_it_ends() {
    let sums = Sums::default();
    let _recorder = metrics::set_default_local_recorder(&sums);

    let script = Script::new([Step::Fail(unavailable()), Step::Takes(2 * SECOND)]);
    let mut settings = PolicySettings::default();
    settings.retry.base = Duration::ZERO.into();
    let provider = Stack::standard(Arc::clone(&script), &settings);
    provider.start_worker(&worker("a"), &StartOptions::default()).await.unwrap();

    script.then(Step::Fail(Error::new(ErrorKind::NotFound, "no such worker")));
    provider.start_worker(&worker("b"), &StartOptions::default()).await.unwrap_err();

    script.then(Step::Never);
    let worker_c = worker("c");
    let options = StartOptions::default();
    let mut dropped = provider.start_worker(&worker_c, &options);
    assert!(futures::poll!(dropped.as_mut()).is_pending());
    drop(dropped);

    let labels =
        |outcome: &str| format!("provider=here,provider_type=script,operation=start,outcome={outcome}");
    let counted = ["dropped", "not_found", "ok"].map(|outcome| (labels(outcome), 1.0));
    assert_eq!(sums.named(names::CALLS), counted);
    let lasted = [("dropped", 0.0), ("not_found", 0.0), ("ok", 2.0)];
    assert_eq!(sums.named(names::CALL_DURATION), lasted.map(|(outcome, time)| (labels(outcome), time)));
    let retries = "provider=here,provider_type=script,operation=start".to_owned();
    assert_eq!(sums.named(names::RETRIES), [(retries, 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn p6_the_breaker_and_the_limits_are_measured() {
    let sums = Sums::default();
    let _recorder = metrics::set_default_local_recorder(&sums);
    let script = Script::new([Step::Fail(unavailable()), Step::Done, Step::Never]);
    let mut settings = plain();
    settings.breaker.failures = 1;
    settings.limits.reads = crate::policy::LaneSettings { at_once: 1, queue: 0 };
    let provider = Stack::standard(script, &settings);
    let of_provider = "provider=here,provider_type=script".to_owned();

    provider.get_worker_status(&worker("a")).await.unwrap_err();
    assert_eq!(sums.named(names::BREAKER), [(of_provider.clone(), 2.0)]);
    tokio::time::advance(5 * SECOND).await;
    provider.get_worker_status(&worker("a")).await.unwrap();
    assert_eq!(sums.named(names::BREAKER), [(of_provider.clone(), 0.0)]);

    let worker_a = worker("a");
    let mut hanging = provider.get_worker_status(&worker_a);
    assert!(futures::poll!(hanging.as_mut()).is_pending());
    provider.get_worker_status(&worker("a")).await.unwrap_err();
    let refused = (format!("{of_provider},operation=status,reason=queue"), 1.0);
    assert_eq!(sums.named(names::REJECTIONS), [refused]);
}
