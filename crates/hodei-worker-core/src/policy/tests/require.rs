use super::*;
use crate::{
    capability::{Capability, ProviderCapabilities},
    model::WorkerConfig,
    policy::Require,
    provider::{
        AutoscaleOptions, CreateOptions, ExecOptions, LogOptions, Operation, ScaleOptions, StatsOptions,
        WatchOptions,
    },
};

#[tokio::test]
async fn p3_a_worker_that_needs_what_is_missing_is_refused_and_nothing_is_created() {
    let capabilities = ProviderCapabilities::new("1")
        .with(Capability::Images)
        .without(Capability::MemoryLimit, "no memory controller");
    let script = Script::with_capabilities([], capabilities);
    let provider = layered(Require, &script);
    let config = WorkerConfig::builder("a").command(["true"]).memory_limit("64Mi").build().unwrap();
    let error = provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("`memory_limit` (no memory controller)"), "{error}");
    assert_eq!(script.count(Operation::Create), 0);

    let config = WorkerConfig::builder("a").image("busybox:1.36").command(["true"]).build().unwrap();
    provider.create_worker(&config, &CreateOptions::default()).await.unwrap();
    assert_eq!(script.count(Operation::Create), 1);
}

#[tokio::test]
async fn p3_optional_operations_need_their_capability() {
    let all = [
        Capability::Watch,
        Capability::Logs,
        Capability::Exec,
        Capability::PortForward,
        Capability::Monitoring,
        Capability::ImageIds,
        Capability::NativeGroups,
        Capability::AutoScaling,
    ];
    let full = all.into_iter().fold(ProviderCapabilities::new("1"), ProviderCapabilities::with);
    for (capabilities, works) in [(ProviderCapabilities::new("1"), false), (full, true)] {
        let script = Script::with_capabilities([], capabilities);
        let provider = layered(Require, &script);
        let (worker, group) = (worker("a"), "web".parse().unwrap());
        let config = WorkerConfig::builder("a").command(["true"]).build().unwrap();
        let results = [
            provider.watch_workers(&WatchOptions::default()).await.map(|_| ()),
            provider.worker_logs(&worker, &LogOptions::all()).await.map(|_| ()),
            provider.exec_in_worker(&worker, &ExecOptions::new(["true"])).await.map(|_| ()),
            provider.connect_worker_port(&worker, 80).await.map(|_| ()),
            provider.worker_stats(&worker, &StatsOptions::default()).await.map(|_| ()),
            provider.get_image_id(&config).await.map(|_| ()),
            provider.scale_workers(&group, 2, &ScaleOptions::default()).await.map(|_| ()),
            provider.autoscale(&group, &AutoscaleOptions::default()).await,
        ];
        for result in &results {
            match result {
                Ok(()) => assert!(works),
                Err(error) => assert!(!works && error.kind() == ErrorKind::Unsupported, "{error}"),
            }
        }
        let sent = script.asked().into_iter().filter(|asked| *asked != Operation::Capabilities).count();
        assert_eq!(sent, if works { results.len() } else { 0 });
    }
}

#[tokio::test]
async fn p3_a_group_of_the_platforms_need_not_scale_by_itself() {
    let script = Script::with_capabilities([], ProviderCapabilities::new("1").with(Capability::NativeGroups));
    let provider = layered(Require, &script);
    let group = "web".parse().unwrap();
    provider.scale_workers(&group, 2, &ScaleOptions::default()).await.unwrap();
    let error = provider.autoscale(&group, &AutoscaleOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("auto_scaling"), "{error}");
}

#[tokio::test]
async fn p3_the_required_operations_cost_no_question() {
    let script = Script::new([]);
    let provider = layered(Require, &script);
    provider.get_worker_status(&worker("a")).await.unwrap();
    provider.delete_worker(&worker("a"), &Default::default()).await.unwrap();
    assert_eq!(script.asked(), [Operation::Status, Operation::Delete]);
}
