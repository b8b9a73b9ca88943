use std::fmt::Debug;

use super::{CaseContext, CaseFailure, CaseResult, Program, cases, check, check_eq};
use crate::{
    capability::{Capability, Support},
    error::{ErrorKind, Result},
    model::{HealthCheckConfig, Mount, Port, Probe, SecretReference, WorkerRef},
    provider::{
        AutoscaleOptions, CreateOptions, DeleteOptions, ExecOptions, LogOptions, LogPosition, ScaleOptions,
        StartOptions, StatsOptions, StopOptions, WatchOptions, WorkerProviderExt as _,
    },
    status::WorkerPhase,
};

cases! {
    p3_capabilities_say_why_something_is_missing [];
    p3_capabilities_stay_the_same [];
    p3_what_is_not_declared_is_unsupported [];
    p1_the_provider_says_who_it_is [];
}

async fn p3_capabilities_say_why_something_is_missing(cx: CaseContext) -> CaseResult {
    check!(!cx.capabilities().version.is_empty(), "no version was detected");
    for (capability, support) in cx.capabilities().iter() {
        let undeclared = matches!(support, Support::Missing(why) if why.is_empty() || why == "not declared by this provider");
        check!(!undeclared, "nothing is said about `{capability}`");
    }
    Ok(())
}

async fn p3_capabilities_stay_the_same(cx: CaseContext) -> CaseResult {
    let again = cx.provider().get_capabilities().await?;
    check_eq!(*again, *cx.capabilities());
    let other = cx.another_host().await?.get_capabilities().await?;
    check_eq!(*other, *cx.capabilities());
    Ok(())
}

async fn p3_what_is_not_declared_is_unsupported(cx: CaseContext) -> CaseResult {
    for capability in Capability::ALL {
        if !cx.has(*capability) {
            refused(&cx, *capability).await?;
        }
    }
    Ok(())
}

async fn p1_the_provider_says_who_it_is(cx: CaseContext) -> CaseResult {
    check_eq!(cx.provider().info().name.as_str(), "suite");
    check!(!cx.provider().info().provider_type.as_str().is_empty(), "it has no type");
    Ok(())
}

/// The negative of a capability: what needs it is refused as unsupported, and nothing is created. Some capabilities
/// describe what comes of an operation, not whether there is one: they have no negative but the cases themselves.
pub(in crate::testkit) async fn refused(cx: &CaseContext, capability: Capability) -> CaseResult {
    let nobody = WorkerRef::first("nobody".parse()?);
    let group = "nobody".parse()?;
    let provider = cx.provider();
    match capability {
        Capability::Watch => unsupported(provider.watch_workers(&WatchOptions::default()).await.map(|_| ()))?,
        Capability::Logs => unsupported(provider.worker_logs(&nobody, &LogOptions::all()).await.map(|_| ()))?,
        Capability::LogPositions if cx.has(Capability::Logs) => {
            let worker = cx.create("unread", &Program::Exit(0)).await?;
            let after = LogOptions::all().after(LogPosition::new("somewhere"));
            unsupported(provider.worker_logs(&worker, &after).await.map(|_| ()))?;
            provider.delete_worker(&worker, &DeleteOptions::default()).await?;
        }
        Capability::Exec => unsupported(provider.exec_in_worker(&nobody, &ExecOptions::new(["true"])).await)?,
        Capability::PortForward => unsupported(provider.connect_worker_port(&nobody, 80).await.map(|_| ()))?,
        Capability::Monitoring => {
            unsupported(provider.worker_stats(&nobody, &StatsOptions::default()).await)?
        }
        Capability::ImageIds => {
            let config = cx.builder("nobody", &Program::Exit(0)).build()?;
            unsupported(provider.get_image_id(&config).await)?;
        }
        Capability::NativeGroups => {
            unsupported(provider.scale_workers(&group, 1, &ScaleOptions::default()).await)?;
        }
        Capability::AutoScaling => {
            unsupported(provider.autoscale(&group, &AutoscaleOptions::default()).await)?;
        }
        Capability::DeferredStart => {
            let worker = cx.create("begun", &Program::ObeyTerm(0)).await?;
            let running = cx.until(&worker, "running", |status| status.phase == WorkerPhase::Running).await?;
            cx.start(&worker).await?;
            let still = provider.get_worker_status(&worker).await?;
            check_eq!((still.phase, &still.run), (WorkerPhase::Running, &running.run));
            provider.delete_worker(&worker, &DeleteOptions::default()).await?;
        }
        Capability::RestartInPlace => {
            let worker = cx.run("once", &Program::ObeyTerm(0)).await?;
            let running = cx.until(&worker, "running", |status| status.phase == WorkerPhase::Running).await?;
            unsupported(provider.restart_worker(&worker, &StopOptions::default()).await)?;
            let still = provider.get_worker_status(&worker).await?;
            check_eq!((still.phase, &still.run), (WorkerPhase::Running, &running.run));
            provider.stop_worker(&worker, &StopOptions::kill()).await?;
            if cx.has(Capability::KeepsStopped) {
                cx.ended(&worker).await?;
                unsupported(provider.start_worker(&worker, &StartOptions::after(still.run.clone())).await)?;
            }
            provider.delete_worker(&worker, &DeleteOptions::default()).await?;
        }
        Capability::Images
        | Capability::Volumes
        | Capability::HostPaths
        | Capability::Tmpfs
        | Capability::HealthChecks
        | Capability::SecretFiles
        | Capability::Networking
        | Capability::CpuLimit
        | Capability::MemoryLimit
        | Capability::PidsLimit => {
            let builder = cx.builder("refused", &Program::Exit(0));
            if capability == Capability::Networking {
                let chosen = builder.clone().port(Port::tcp(8080));
                unsupported(provider.create_worker(&chosen.build()?, &CreateOptions::default()).await)?;
            }
            let builder = match capability {
                Capability::Images => builder.image("some/image:1"),
                Capability::Volumes => builder.mount(Mount::volume("refused", "/mnt")),
                Capability::HostPaths => builder.mount(Mount::bind("/proc", "/mnt")),
                Capability::Tmpfs => builder.mount(Mount::tmpfs("/mnt", None)),
                Capability::HealthChecks => builder.health_check(HealthCheckConfig::new(Probe::Native)),
                Capability::SecretFiles => builder.secret(SecretReference::file("refused", "/run/refused")),
                Capability::Networking => builder.port(Port::tcp(8080).on_host_port(18_080)),
                Capability::CpuLimit => builder.cpu_limit("1"),
                Capability::MemoryLimit => builder.memory_limit("64Mi"),
                _ => builder.pids_limit(100),
            };
            unsupported(provider.create_worker(&builder.build()?, &CreateOptions::default()).await)?;
        }
        _ => {}
    }
    cx.lists(&[]).await?;
    Ok(())
}

fn unsupported<T: Debug>(result: Result<T>) -> CaseResult {
    match result {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        other => Err(CaseFailure::new(format!("expected `unsupported`, got {other:?}"))),
    }
}
