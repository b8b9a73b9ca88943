//! The behaviour suite against the fake: bare, under every layer, under all of them, and lacking what a provider may
//! lack.

#![allow(clippy::expect_used)] // A test harness of its own: clippy does not see that it is one.
use std::{process::ExitCode, sync::Arc, time::Duration};

use hodei_worker_core::{
    Capability, ConnectContext, WorkerProvider,
    policy::{
        Breaker, Cache, Context, Layer as _, Limit, Observe, PolicySettings, Require, RetryPolicy, Stack,
        Timeout, gate,
    },
    testkit::{FakeSubject, run},
};

const OPTIONAL: [Capability; 16] = [
    Capability::Watch,
    Capability::Logs,
    Capability::Exec,
    Capability::Monitoring,
    Capability::NativeGroups,
    Capability::AutoScaling,
    Capability::Images,
    Capability::Volumes,
    Capability::HostPaths,
    Capability::Tmpfs,
    Capability::HealthChecks,
    Capability::Networking,
    Capability::CpuLimit,
    Capability::MemoryLimit,
    Capability::PidsLimit,
    Capability::SecretFiles,
];

/// What clouds are like: a creation runs the worker, and its end is the end of it.
const BARE: [Capability; 4] =
    [Capability::DeferredStart, Capability::KeepsEnded, Capability::KeepsStopped, Capability::RestartInPlace];
/// A provider that stops by removing, as Kubernetes does.
const STOP_REMOVES: [Capability; 2] = [Capability::KeepsStopped, Capability::RestartInPlace];
/// One that forgets whatever has ended.
const FORGETS: [Capability; 3] =
    [Capability::KeepsEnded, Capability::KeepsStopped, Capability::RestartInPlace];

/// A provider behind the gate of a handle that is ready.
fn gated(inner: Arc<dyn WorkerProvider>) -> Arc<dyn WorkerProvider> {
    let context = ConnectContext::new(inner.info().name.clone(), "gate".parse().expect("an id"));
    // The suite wraps outside of an await: the handle is made on a thread of its own.
    let handle = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(hodei_worker_core::ProviderHandle::of(inner, context)).expect("a handle")
    });
    gate(handle.join().expect("no panic"))
}

fn main() -> ExitCode {
    let settings = PolicySettings::default();
    let mut brief = settings.cache.clone();
    brief.status = Duration::from_millis(20).into();
    let layer =
        |name: &str, wrap: fn(Arc<dyn WorkerProvider>, &PolicySettings) -> Arc<dyn WorkerProvider>| {
            let settings = settings.clone();
            FakeSubject::new().under(name, move |inner| wrap(inner, &settings))
        };
    run([
        FakeSubject::new(),
        FakeSubject::new().without("least", &OPTIONAL),
        FakeSubject::new().without("starts-at-create", &[Capability::DeferredStart]),
        FakeSubject::new().without("runs-once", &[Capability::RestartInPlace]),
        FakeSubject::new().without("stop-removes", &STOP_REMOVES),
        FakeSubject::new().without("forgets", &FORGETS),
        FakeSubject::new().without("bare", &BARE),
        layer("observe", |inner, _| Observe::new(&inner.info().clone()).layer(inner)),
        layer("context", |inner, settings| Context::new(&settings.timeouts).layer(inner)),
        FakeSubject::new().under("ready", gated),
        layer("require", |inner, _| Require.layer(inner)),
        FakeSubject::new().under("cache", move |inner| Cache::new(&brief).layer(inner)),
        layer("retry", |inner, settings| RetryPolicy::new(&settings.retry).layer(inner)),
        layer("breaker", |inner, settings| {
            Breaker::new(&settings.breaker, &inner.info().clone()).layer(inner)
        }),
        layer("limit", |inner, settings| Limit::new(&settings.limits).layer(inner)),
        layer("timeout", |inner, settings| Timeout::new(&settings.timeouts).layer(inner)),
        layer("standard", |inner, settings| Stack::standard(inner, settings)),
    ])
}
