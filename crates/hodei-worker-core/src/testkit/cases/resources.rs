use std::time::{Duration, Instant};

use super::{
    CaseContext, CaseFailure, CaseResult, PATIENCE, Program, cases, check, check_eq, eventually, fails_with,
};
use crate::{
    error::ErrorKind,
    model::WorkerRef,
    provider::{StatsOptions, WorkerStats},
    status::{ExitStatus, FailureClass},
};

cases! {
    l7_stats_rise_under_load [Monitoring, Logs];
    l7_stats_know_the_memory [Monitoring, Logs];
    l7_stats_know_what_is_set_aside [Monitoring, Logs];
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
        match (before.cpu_time, after.cpu_time, after.cpu_nanocores) {
            (Some(before), Some(after), _) => {
                check!(after >= before + Duration::from_millis(50), "only {before:?} to {after:?}");
            }
            // A platform that tells averages has none at first.
            (_, _, Some(used)) => {
                check!(used >= 50_000_000, "only {used} billionths of a core: {after:?}");
                check!(after.window.is_some_and(|window| !window.is_zero()), "over which time? {after:?}");
            }
            _ => return Err(CaseFailure::new(format!("no processor time: {after:?}"))),
        }
        Ok(())
    })
    .await
}

async fn l7_stats_know_the_memory(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::ObeyTerm(0)).await?;
    eventually(PATIENCE, async || {
        let stats = cx.provider().worker_stats(&worker, &StatsOptions::default()).await?;
        check!(stats.memory.is_some_and(|bytes| (1..1 << 30).contains(&bytes)), "{stats:?}");
        check!(stats.pids.is_none_or(|pids| pids >= 1), "{stats:?}");
        Ok(())
    })
    .await
}

async fn l7_stats_know_what_is_set_aside(cx: CaseContext) -> CaseResult {
    let builder = cx.builder("a", &Program::ObeyTerm(0)).cpu_request("100m").memory_request("16Mi");
    let worker = cx.run_as(builder).await?;
    cx.says(&worker, "ready").await?;
    let stats = cx.provider().worker_stats(&worker, &StatsOptions::default()).await?;
    check!(stats.cpu_request.is_none_or(|cpu| cpu.millis() == 100), "{stats:?}");
    check!(stats.memory_request.is_none_or(|bytes| bytes == 16 << 20), "{stats:?}");
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

/// Percent of a core that two workers use side by side.
async fn shares(cx: &CaseContext, workers: [&WorkerRef; 2]) -> CaseResult<[u128; 2]> {
    let options = StatsOptions::default();
    let look = async || {
        let [a, b] = workers;
        let provider = cx.provider();
        Ok::<_, CaseFailure>([
            provider.worker_stats(a, &options).await?,
            provider.worker_stats(b, &options).await?,
        ])
    };
    let begun = Instant::now();
    let before = look().await?;
    eventually(PATIENCE, async || {
        let after = look().await?;
        let counters = |stats: &[WorkerStats; 2]| Some([stats[0].cpu_time?, stats[1].cpu_time?]);
        if let (Some(before), Some(after)) = (counters(&before), counters(&after)) {
            let over = begun.elapsed();
            // Long enough for several of the kernel's periods of 100 ms.
            check!(over >= Duration::from_secs(2), "too early");
            let share = |n: usize| (after[n] - before[n]).as_millis() * 100 / over.as_millis().max(1);
            return Ok([share(0), share(1)]);
        }
        let averages = |n: usize| {
            let (now, then) = (&after[n], &before[n]);
            let began = now.time.checked_sub(now.window?).ok()?;
            now.cpu_nanocores.filter(|_| began >= then.time).map(|nanos| u128::from(nanos) / 10_000_000)
        };
        match (averages(0), averages(1)) {
            (Some(a), Some(b)) => Ok([a, b]),
            _ => Err(CaseFailure::new(format!("no average over a time since then: {after:?}"))),
        }
    })
    .await
}

async fn d5_a_cpu_limit_is_kept(cx: CaseContext) -> CaseResult {
    let limited = cx.run_as(cx.builder("limited", &Program::Burn).cpu_limit("200m")).await?;
    cx.says(&limited, "ready").await?;
    // On a machine that has much to do, one without a limit would get little as well.
    let free = cx.run_ready("free", &Program::Burn).await?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let [limited, free] = shares(&cx, [&limited, &free]).await?;
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
