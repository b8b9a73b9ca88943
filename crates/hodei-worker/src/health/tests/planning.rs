use hodei_worker_core::{
    Capability, ErrorKind, NativeChecks, ProviderCapabilities, WorkerConfig,
    model::{HealthCheckConfig, Port, Probe, ProbeKind},
    quantity::HumanDuration,
};

use crate::health::{CheckedBy, plan};

fn process() -> ProviderCapabilities {
    ProviderCapabilities::new("1").without(Capability::HealthChecks, "no platform").with(Capability::Exec)
}

fn engine() -> ProviderCapabilities {
    ProviderCapabilities::new("1")
        .with(Capability::HealthChecks)
        .with_native_checks(NativeChecks::of([ProbeKind::Command], Some(1)))
        .with(Capability::Exec)
}

fn config(checks: impl IntoIterator<Item = Probe>) -> WorkerConfig {
    let builder = WorkerConfig::builder("a").command(["true"]).port(Port::tcp(80));
    let checks = checks.into_iter().map(HealthCheckConfig::new);
    checks.fold(builder, |builder, check| builder.health_check(check)).build().unwrap()
}

fn who(config: &WorkerConfig, capabilities: &ProviderCapabilities) -> Vec<CheckedBy> {
    plan(config, capabilities).unwrap().iter().map(|how| how.by).collect()
}

#[test]
fn p3_what_a_platform_cannot_check_the_host_checks_visibly() {
    use CheckedBy::{Host, Provider};
    let checks = config([Probe::Tcp { port: 80 }, Probe::command(["a"]), Probe::command(["b"])]);
    assert_eq!(who(&checks, &engine()), [Host, Provider, Host]);
    assert_eq!(who(&checks, &process()), [Host, Host, Host]);
    let plan = plan(&checks, &engine()).unwrap();
    let told: Vec<_> = plan.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "tcp: by this host (the provider has no such check)",
            "command: by the provider",
            "command: by this host (the provider makes no more checks of one worker)"
        ]
    );
    let its_own: Vec<_> = plan.for_provider(&checks).unwrap().health_checks.clone();
    assert_eq!(its_own, [HealthCheckConfig::new(Probe::command(["a"]))]);
    let ours: Vec<_> = plan.for_host().into_iter().map(|check| check.probe).collect();
    assert_eq!(ours, [Probe::Native, Probe::Tcp { port: 80 }, Probe::command(["b"])]);
}

#[test]
fn p3_what_a_platform_does_not_look_at_makes_the_check_the_hosts() {
    let with = |check: HealthCheckConfig| {
        WorkerConfig::builder("a").command(["true"]).health_check(check).build().unwrap()
    };
    let command = || HealthCheckConfig::new(Probe::command(["a"]));
    assert_eq!(who(&with(command()), &engine()), [CheckedBy::Provider]);
    let slow = command().slow_after(HumanDuration::millis(10));
    assert_eq!(who(&with(slow), &engine()), [CheckedBy::Host]);
    assert_eq!(who(&with(command().thresholds(2, 3)), &engine()), [CheckedBy::Host]);
    // The status has room for one result, and here it is the image's.
    let both = config([Probe::Native, Probe::command(["a"])]);
    assert_eq!(who(&both, &engine()), [CheckedBy::Provider, CheckedBy::Host]);
}

#[test]
fn p3_a_check_that_nobody_can_make_is_refused_before_anything_is_created() {
    let bare = ProviderCapabilities::new("1")
        .without(Capability::HealthChecks, "no platform")
        .without(Capability::Exec, "no shell");
    let checks = config([Probe::Native, Probe::Tcp { port: 80 }, Probe::command(["a"])]);
    let error = plan(&checks, &bare).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(
        text.contains("health_checks[0] (native): the provider has no health checks: no platform"),
        "{text}"
    );
    assert!(text.contains("health_checks[2] (command): ") && text.contains("no shell"), "{text}");
    assert!(!text.contains("health_checks[1]"), "{text}");
}

#[test]
fn p3_a_port_that_the_worker_does_not_declare_cannot_be_checked() {
    let error = plan(&config([Probe::Tcp { port: 81 }]), &process()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.context_value("field"), Some("health_checks[0].probe.tcp.port"));
    // Where workers have addresses of their own, any of their ports can.
    let with_addresses = process().with(Capability::OwnAddresses);
    assert_eq!(who(&config([Probe::Tcp { port: 81 }]), &with_addresses), [CheckedBy::Host]);
    // And so they can through the provider.
    let forwarding = process().with(Capability::PortForward);
    assert_eq!(who(&config([Probe::Tcp { port: 81 }]), &forwarding), [CheckedBy::Host]);
}

#[cfg(not(feature = "http-probes"))]
#[test]
fn p3_without_the_feature_an_http_check_is_refused_with_the_reason() {
    let error = plan(&config([Probe::http(80, "/")]), &process()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("feature `http-probes` is off"), "{error}");
}

#[cfg(all(feature = "http-probes", not(feature = "https-probes")))]
#[test]
fn p3_without_the_feature_an_https_check_is_refused_with_the_reason() {
    use hodei_worker_core::model::HttpProbe;
    let error = plan(&config([Probe::Http(HttpProbe::new(80).https())]), &process()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("feature `https-probes` is off"), "{error}");
}
