use super::{CaseContext, CaseFailure, CaseResult, Program, cases, check, check_eq, polled};
use crate::{
    provider::{
        CreateOptions, DeleteOptions, ExecOptions, LogOptions, StopOptions, WatchOptions, WorkerFilter,
    },
    status::{ExitStatus, WorkerPhase},
};

cases! {
    p1_a_create_dropped_at_any_poll_is_repeated_to_one [KeepsEnded];
    p1_a_start_dropped_at_any_poll_is_repeated_to_one_run [Logs, KeepsEnded];
    p1_a_stop_dropped_at_any_poll_is_repeated_to_the_end [Logs, KeepsStopped];
    p1_a_delete_dropped_at_any_poll_is_repeated_to_none [];
    p1_reads_dropped_at_any_poll_do_no_harm [KeepsEnded];
    p1_a_command_dropped_at_any_poll_does_the_worker_no_harm [Exec, Logs];
    l6_the_sweep_finds_what_dropped_creates_left [];
}

/// More awaits than any call has.
const MOST_POLLS: usize = 200;

fn never_whole<T>() -> CaseResult<T> {
    Err(CaseFailure::new(format!("no call came through in {MOST_POLLS} polls: not every await was tried")))
}

fn dropped_after(polls: usize, failure: CaseFailure) -> CaseFailure {
    CaseFailure::new(format!("dropped after {polls} polls: {failure}"))
}

async fn p1_a_create_dropped_at_any_poll_is_repeated_to_one(cx: CaseContext) -> CaseResult {
    let options = CreateOptions::default();
    for polls in 1..=MOST_POLLS {
        let config = cx.builder(&format!("w-{polls}"), &Program::Exit(0)).build()?;
        let whole = polled(cx.provider().create_worker(&config, &options), polls).await.transpose()?;
        let mended = async {
            let worker = cx.provider().create_worker(&config, &options).await?.worker;
            let found = cx.provider().list_workers(&WorkerFilter::id(worker.id.clone())).await?;
            check_eq!(found.workers.len(), 1);
            cx.start(&worker).await?;
            check!(cx.ended(&worker).await?.succeeded(), "the worker is broken");
            Ok(())
        };
        mended.await.map_err(|failure| dropped_after(polls, failure))?;
        if whole.is_some() {
            return Ok(());
        }
    }
    never_whole()
}

async fn p1_a_start_dropped_at_any_poll_is_repeated_to_one_run(cx: CaseContext) -> CaseResult {
    for polls in 1..=MOST_POLLS {
        let worker = cx.create(&format!("w-{polls}"), &Program::Exit(0)).await?;
        let whole = polled(cx.start(&worker), polls).await.transpose()?;
        let mended = async {
            cx.start(&worker).await?;
            cx.ended(&worker).await?;
            check_eq!(cx.count(&worker, "run").await?, 1);
            Ok(())
        };
        mended.await.map_err(|failure| dropped_after(polls, failure))?;
        if whole.is_some() {
            return Ok(());
        }
    }
    never_whole()
}

async fn p1_a_stop_dropped_at_any_poll_is_repeated_to_the_end(cx: CaseContext) -> CaseResult {
    for polls in 1..=MOST_POLLS {
        let worker = cx.run_ready(&format!("w-{polls}"), &Program::IgnoreTerm).await?;
        let grace = StopOptions::within(std::time::Duration::from_millis(100));
        let whole = polled(cx.provider().stop_worker(&worker, &grace), polls).await;
        let came_through = whole.transpose()?.is_some();
        cx.provider().stop_worker(&worker, &grace).await?;
        let status = cx.ended(&worker).await?;
        check_eq!(status.exit.and_then(ExitStatus::possible_signal), Some(9));
        check!(cx.count(&worker, "term").await? <= 1, "asked more than once after {polls} polls");
        if came_through {
            return Ok(());
        }
        cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?;
    }
    never_whole()
}

async fn p1_a_delete_dropped_at_any_poll_is_repeated_to_none(cx: CaseContext) -> CaseResult {
    for polls in 1..=MOST_POLLS {
        let worker = cx.run("a", &Program::ObeyTerm(0)).await?;
        let options = DeleteOptions::default();
        let whole = polled(cx.provider().delete_worker(&worker, &options), polls).await;
        let came_through = whole.is_some();
        whole.transpose()?;
        cx.provider().delete_worker(&worker, &options).await?;
        cx.lists(&[]).await?;
        if came_through {
            return Ok(());
        }
    }
    never_whole()
}

async fn p1_reads_dropped_at_any_poll_do_no_harm(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Exit(0)).await?;
    cx.ended(&worker).await?;
    for polls in 1..8 {
        let _ = polled(cx.provider().get_worker_status(&worker), polls).await;
        let _ = polled(cx.provider().list_workers(&WorkerFilter::all()), polls).await;
        let _ = polled(cx.provider().watch_workers(&WatchOptions::default()), polls).await;
        let _ = polled(cx.provider().worker_logs(&worker, &LogOptions::following()), polls).await;
    }
    check!(cx.ended(&worker).await?.succeeded(), "its status changed");
    cx.lists(&[worker]).await?;
    Ok(())
}

async fn l6_the_sweep_finds_what_dropped_creates_left(cx: CaseContext) -> CaseResult {
    let options = CreateOptions::default();
    for polls in 1..12 {
        let config = cx.builder(&format!("w-{polls}"), &Program::Exit(0)).build()?;
        polled(cx.provider().create_worker(&config, &options), polls).await.transpose()?;
    }
    // A host that knows nothing of them finds by their labels all that exist, and can remove them: what is left then
    // is found, and failed for, when the case is cleaned up.
    let host = cx.another_host().await?;
    for status in host.list_workers(&WorkerFilter::all()).await?.workers {
        check!(status.ownership.is_some(), "no owner: {status:?}");
        host.delete_worker(&status.worker, &DeleteOptions::default()).await?;
    }
    cx.lists(&[]).await?;
    Ok(())
}

async fn p1_a_command_dropped_at_any_poll_does_the_worker_no_harm(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::ObeyTerm(0)).await?;
    let running = cx.until(&worker, "running", |status| status.phase == WorkerPhase::Running).await?;
    let command = ExecOptions::new(cx.subject().command(&Program::Exit(7)));
    let run = async || cx.provider().exec_in_worker(&worker, &command).await?.collect().await;
    for polls in 1..=MOST_POLLS {
        let whole = polled(run(), polls).await.transpose()?;
        let status = cx.provider().get_worker_status(&worker).await?;
        check_eq!((status.phase, &status.run), (WorkerPhase::Running, &running.run));
        if let Some(output) = whole {
            check_eq!(output.exit, Some(ExitStatus::Code(7)));
            return Ok(());
        }
    }
    never_whole()
}
