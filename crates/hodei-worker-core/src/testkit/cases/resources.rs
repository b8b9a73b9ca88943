use std::time::{Duration, Instant};

use super::{
    CaseContext, CaseFailure, CaseResult, PATIENCE, Program, cases, check, check_eq, eventually, fails_with,
};
use crate::{
    error::ErrorKind,
    model::WorkerRef,
    provider::StatsOptions,
    status::{ExitStatus, FailureClass},
};

cases! {
    l7_stats_rise_under_load [Monitoring, Logs];
    l7_stats_know_the_memory [Monitoring, Logs];
    l7_stats_of_one_that_does_not_run_are_a_conflict [Monitoring, DeferredStart, KeepsEnded];
    l7_stats_of_what_is_missing_are_not_found [Monitoring];
    d5_a_memory_limit_kills_and_is_told [MemoryLimit, KeepsEnded];
    d5_a_limit_on_processes_is_kept [PidsLimit, Logs, KeepsEnded];
    d5_a_cpu_limit_is_kept [CpuLimit, Monitoring, Logs];
    d5_limits_leave_a_modest_worker_alone [MemoryLimit, PidsLimit, KeepsEnded];
}

async fn l7_stats_rise_under_load(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::Burn).await?;
    let options = StatsOptions::default();
    let before = cx.provider().worker_stats(&worker, &options).await?;
    eventually(PATIENCE, async || {
        let after = cx.provider().worker_stats(&worker, &options).await?;
        let (Some(before), Some(after)) = (before.cpu_time, after.cpu_time) else {
            return Err(CaseFailure::new(format!("no processor time: {after:?}")));
        };
        check!(after >= before + Duration::from_millis(50), "only {before:?} to {after:?}");
        Ok(())
    })
    .await
}

async fn l7_stats_know_the_memory(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::ObeyTerm(0)).await?;
    let stats = cx.provider().worker_stats(&worker, &StatsOptions::default()).await?;
    check!(stats.memory.is_some_and(|bytes| (1..1 << 30).contains(&bytes)), "{stats:?}");
    check!(stats.pids.is_none_or(|pids| pids >= 1), "{stats:?}");
    Ok(())
}

async fn l7_stats_of_one_that_does_not_run_are_a_conflict(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::Exit(0)).await?;
    let options = StatsOptions::default();
    fails_with(ErrorKind::Conflict, cx.provider().worker_stats(&worker, &options).await)?;
    cx.start(&worker).await?;
    cx.ended(&worker).await?;
    fails_with(ErrorKind::Conflict, cx.provider().worker_stats(&worker, &options).await)?;
    Ok(())
}

async fn l7_stats_of_what_is_missing_are_not_found(cx: CaseContext) -> CaseResult {
    let nobody = WorkerRef::first("nobody".parse()?);
    fails_with(ErrorKind::NotFound, cx.provider().worker_stats(&nobody, &StatsOptions::default()).await)?;
    Ok(())
}

async fn d5_a_memory_limit_kills_and_is_told(cx: CaseContext) -> CaseResult {
    let worker = cx.run_as(cx.builder("a", &Program::Eat).memory_limit("32Mi")).await?;
    let status = cx.ended(&worker).await?;
    check!(status.out_of_memory, "not told as out of memory: {status:?}");
    check_eq!(status.failure, Some(FailureClass::OutOfMemory));
    check_eq!(status.exit.map(ExitStatus::shell_code), Some(137));
    Ok(())
}

async fn d5_a_limit_on_processes_is_kept(cx: CaseContext) -> CaseResult {
    let worker = cx.run_as(cx.builder("a", &Program::Fork(60)).pids_limit(20)).await?;
    let status = cx.ended(&worker).await?;
    check!(!status.succeeded(), "{status:?}");
    check_eq!(cx.count(&worker, "all").await?, 0);
    let free = cx.run("free", &Program::Fork(60)).await?;
    cx.says(&free, "all").await
}

/// The processor time that a worker has used.
async fn used(cx: &CaseContext, worker: &WorkerRef) -> CaseResult<Duration> {
    let stats = cx.provider().worker_stats(worker, &StatsOptions::default()).await?;
    stats.cpu_time.ok_or_else(|| CaseFailure::new(format!("no processor time: {stats:?}")))
}

async fn d5_a_cpu_limit_is_kept(cx: CaseContext) -> CaseResult {
    let limited = cx.run_as(cx.builder("limited", &Program::Burn).cpu_limit("200m")).await?;
    cx.says(&limited, "ready").await?;
    // On a machine that has much to do, one without a limit would get little as well.
    let free = cx.run_ready("free", &Program::Burn).await?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let window = Instant::now();
        let before = (used(&cx, &limited).await?, used(&cx, &free).await?);
        // Long enough for several of the kernel's periods of 100 ms.
        eventually(PATIENCE, async || {
            check!(window.elapsed() >= Duration::from_secs(2), "too early");
            Ok(())
        })
        .await?;
        let after = (used(&cx, &limited).await?, used(&cx, &free).await?);
        let share = |used: Duration| used.as_millis() * 100 / window.elapsed().as_millis().max(1);
        let (limited, free) = (share(after.0 - before.0), share(after.1 - before.1));
        if free >= 50 {
            check!(limited < 40, "used {limited} % of a core, allowed are 20 %; {free} % could be had");
            return Ok(());
        }
    }
    Err(CaseFailure::inapplicable("the machine has no half of a core to spare, so a limit would not show"))
}

async fn d5_limits_leave_a_modest_worker_alone(cx: CaseContext) -> CaseResult {
    let worker = cx.run_as(cx.builder("a", &Program::Exit(0)).memory_limit("64Mi").pids_limit(20)).await?;
    check!(cx.ended(&worker).await?.succeeded(), "it was not left alone");
    Ok(())
}
