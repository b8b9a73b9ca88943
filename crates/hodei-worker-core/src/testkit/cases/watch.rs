use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{CaseContext, CaseFailure, CaseResult, PATIENCE, Program, cases, check, check_eq};
use crate::{
    error::Result,
    model::{Generation, WorkerRef},
    provider::{
        BoxStream, CreateOptions, DeleteOptions, StartOptions, WatchOptions, WorkerFilter,
        WorkerProviderExt as _,
    },
    status::{WorkerObservation, WorkerPhase, WorkerStatus},
};

cases! {
    l10_watch_opens_with_a_whole_picture_in_brackets [Watch, DeferredStart, KeepsEnded];
    l10_watch_tells_a_whole_life [Watch, DeferredStart, KeepsStopped];
    l10_watch_opened_in_the_middle_of_changes_ends_at_the_truth [Watch, KeepsEnded];
    l10_two_watches_see_the_same [Watch, KeepsEnded];
    l10_a_watch_that_is_not_read_slows_nobody [Watch, DeferredStart, KeepsEnded];
    l10_watch_tells_only_what_was_asked_for [Watch, DeferredStart];
    l10_watch_sees_what_another_host_does [Watch, DeferredStart, KeepsEnded];
    l10_watch_tells_no_other_installations_workers [Watch, DeferredStart];
    l10_a_late_word_on_an_older_generation_buries_nothing [Watch, DeferredStart];
    l10_waiting_for_an_exit_means_the_present_run [Watch, KeepsEnded, RestartInPlace];
    l10_watch_is_opened_again_after_all_were_dropped [Watch, DeferredStart];
    l10_of_two_statuses_it_is_told_which_is_later [Watch, DeferredStart, KeepsStopped];
    l10_the_word_that_one_is_gone_names_its_run [Watch, KeepsEnded];
}

/// A watch with the picture that a consumer would draw from it.
struct Watching {
    stream: BoxStream<'static, Result<WorkerObservation>>,
    picture: BTreeMap<WorkerRef, WorkerPhase>,
    listed: Option<BTreeMap<WorkerRef, WorkerPhase>>,
    brackets: usize,
}

impl Watching {
    async fn open(cx: &CaseContext, filter: WorkerFilter) -> CaseResult<Self> {
        let stream = cx.provider().watch_workers(&WatchOptions::filter(filter)).await?;
        let mut watching = Self { stream, picture: BTreeMap::new(), listed: None, brackets: 0 };
        watching.until("synced", |watching| watching.brackets > 0).await?;
        Ok(watching)
    }

    async fn next(&mut self) -> CaseResult<WorkerObservation> {
        match tokio::time::timeout(PATIENCE, self.stream.next()).await {
            Ok(Some(item)) => Ok(item?),
            Ok(None) => Err(CaseFailure::new("the watch ended")),
            Err(_) => {
                Err(CaseFailure::new(format!("nothing was told for {PATIENCE:?}; known: {:?}", self.picture)))
            }
        }
    }

    async fn step(&mut self) -> CaseResult<WorkerObservation> {
        let observation = self.next().await?;
        match &observation {
            WorkerObservation::Resync => self.listed = Some(BTreeMap::new()),
            WorkerObservation::Listed(status) => match &mut self.listed {
                Some(listed) => {
                    listed.insert(status.worker.clone(), status.phase);
                }
                None => return Err(CaseFailure::new("`Listed` outside of brackets")),
            },
            WorkerObservation::Synced => match self.listed.take() {
                Some(listed) => (self.picture, self.brackets) = (listed, self.brackets + 1),
                None => return Err(CaseFailure::new("`Synced` without `Resync`")),
            },
            WorkerObservation::Applied(_) | WorkerObservation::Gone(_) if self.listed.is_some() => {
                return Err(CaseFailure::new("a change inside of brackets"));
            }
            WorkerObservation::Applied(status) => {
                self.picture.insert(status.worker.clone(), status.phase);
            }
            WorkerObservation::Gone(gone) => {
                self.picture.remove(&gone.worker);
            }
            // The next picture ends it.
            WorkerObservation::Unsynced(_) => {}
        }
        Ok(observation)
    }

    async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) -> CaseResult {
        while !condition(self) {
            self.step()
                .await
                .map_err(|failure| CaseFailure::new(format!("waiting until {what}: {failure}")))?;
        }
        Ok(())
    }

    async fn until_phase(&mut self, worker: &WorkerRef, phase: WorkerPhase) -> CaseResult {
        self.until(phase.as_str(), |watching| watching.picture.get(worker) == Some(&phase)).await
    }

    async fn until_gone(&mut self, worker: &WorkerRef) -> CaseResult {
        self.until("gone", |watching| !watching.picture.contains_key(worker)).await
    }
}

async fn l10_watch_opens_with_a_whole_picture_in_brackets(cx: CaseContext) -> CaseResult {
    let empty = Watching::open(&cx, WorkerFilter::all()).await?;
    check_eq!(empty.picture.len(), 0);
    drop(empty);
    let first = cx.create("a", &Program::Exit(0)).await?;
    let second = cx.run("b", &Program::Exit(0)).await?;
    cx.ended(&second).await?;
    let watching = Watching::open(&cx, WorkerFilter::all()).await?;
    let wanted = BTreeMap::from([(first, WorkerPhase::Created), (second, WorkerPhase::Exited)]);
    check_eq!(watching.picture, wanted);
    Ok(())
}

async fn l10_watch_tells_a_whole_life(cx: CaseContext) -> CaseResult {
    let mut watching = Watching::open(&cx, WorkerFilter::all()).await?;
    let worker = cx.create("a", &Program::ObeyTerm(0)).await?;
    watching.until_phase(&worker, WorkerPhase::Created).await?;
    cx.start(&worker).await?;
    watching.until_phase(&worker, WorkerPhase::Running).await?;
    cx.provider().stop_worker(&worker, &crate::provider::StopOptions::kill()).await?;
    watching.until_phase(&worker, WorkerPhase::Exited).await?;
    cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?;
    watching.until_gone(&worker).await
}

async fn l10_watch_opened_in_the_middle_of_changes_ends_at_the_truth(cx: CaseContext) -> CaseResult {
    let changes = async {
        for n in 0..6 {
            let worker = cx.run(&format!("w-{n}"), &Program::Exit(0)).await?;
            if n % 2 == 0 {
                cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?;
            }
        }
        Ok::<(), CaseFailure>(())
    };
    let watches = async {
        let mut open = Vec::new();
        for _ in 0..5 {
            open.push(Watching::open(&cx, WorkerFilter::all()).await?);
        }
        Ok::<_, CaseFailure>(open)
    };
    let (changed, open) = futures::join!(changes, watches);
    changed?;
    for mut watching in open? {
        let settled = |watching: &Watching| {
            let ids: Vec<&str> = watching.picture.keys().map(|worker| worker.id.as_str()).collect();
            ids == ["w-1", "w-3", "w-5"]
                && watching.picture.values().all(|phase| *phase == WorkerPhase::Exited)
        };
        watching.until("settled", settled).await?;
    }
    Ok(())
}

async fn l10_two_watches_see_the_same(cx: CaseContext) -> CaseResult {
    let mut first = Watching::open(&cx, WorkerFilter::all()).await?;
    let mut second = Watching::open(&cx, WorkerFilter::all()).await?;
    let worker = cx.run("a", &Program::Exit(0)).await?;
    first.until_phase(&worker, WorkerPhase::Exited).await?;
    drop(first);
    second.until_phase(&worker, WorkerPhase::Exited).await?;
    cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?;
    second.until_gone(&worker).await
}

async fn l10_a_watch_that_is_not_read_slows_nobody(cx: CaseContext) -> CaseResult {
    // More changes than a buffer holds that somebody may have put before each reader.
    const WORKERS: usize = 100;
    let mut idle = Watching::open(&cx, WorkerFilter::all()).await?;
    let mut busy = Watching::open(&cx, WorkerFilter::all()).await?;
    let lives = stream::iter(0..WORKERS).map(|n| {
        let cx = cx.clone();
        async move {
            let worker = cx.run(&format!("w-{n}"), &Program::Exit(0)).await?;
            cx.ended(&worker).await?;
            Ok::<_, CaseFailure>(cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?)
        }
    });
    let changes = async {
        lives.buffer_unordered(8).try_collect::<Vec<()>>().await?;
        Ok::<_, CaseFailure>(cx.create("last", &Program::Exit(0)).await?)
    };
    // It is read while they come, and hears of them.
    let reading = async {
        let mut gone = 0;
        loop {
            match busy.step().await? {
                WorkerObservation::Gone(_) => gone += 1,
                WorkerObservation::Applied(status) if status.worker.id.as_str() == "last" => return Ok(gone),
                _ => {}
            }
        }
    };
    let (last, gone): (_, CaseResult<usize>) = futures::join!(changes, reading);
    let (last, gone) = (last?, gone?);
    check!(gone > 0, "the one that was read heard of no end");
    // The other has read nothing meanwhile, and still arrives at the truth.
    let truth = BTreeMap::from([(last, WorkerPhase::Created)]);
    idle.until("up to date", |watching| watching.picture == truth).await
}

async fn l10_watch_tells_only_what_was_asked_for(cx: CaseContext) -> CaseResult {
    let mut red = Watching::open(&cx, WorkerFilter::all().label("team", "red")).await?;
    cx.create_as(cx.builder("blue", &Program::Exit(0)).label("team", "blue")).await?;
    let worker = cx.create_as(cx.builder("red", &Program::Exit(0)).label("team", "red")).await?;
    red.until_phase(&worker, WorkerPhase::Created).await?;
    check_eq!(red.picture.len(), 1);
    let by_id = Watching::open(&cx, WorkerFilter::id("blue".parse()?)).await?;
    check_eq!(by_id.picture.len(), 1);
    Ok(())
}

async fn l10_watch_sees_what_another_host_does(cx: CaseContext) -> CaseResult {
    let mut watching = Watching::open(&cx, WorkerFilter::all()).await?;
    let host = cx.another_host().await?;
    let config = cx.builder("a", &Program::Exit(0)).build()?;
    let worker = host.create_worker(&config, &CreateOptions::default()).await?.worker;
    watching.until_phase(&worker, WorkerPhase::Created).await?;
    host.start_worker(&worker, &Default::default()).await?;
    watching.until_phase(&worker, WorkerPhase::Exited).await?;
    host.delete_worker(&worker, &DeleteOptions::default()).await?;
    watching.until_gone(&worker).await
}

async fn l10_watch_tells_no_other_installations_workers(cx: CaseContext) -> CaseResult {
    let other = cx.another_installation().await?;
    let mut watching = Watching::open(&cx, WorkerFilter::all()).await?;
    let result = async {
        other.create("theirs", &Program::Exit(0)).await?;
        let ours = cx.create("ours", &Program::Exit(0)).await?;
        watching.until_phase(&ours, WorkerPhase::Created).await?;
        check_eq!(watching.picture.len(), 1);
        Ok(())
    };
    let result: CaseResult = result.await;
    other.clean_up().await?;
    result
}

async fn l10_a_late_word_on_an_older_generation_buries_nothing(cx: CaseContext) -> CaseResult {
    let mut watching = Watching::open(&cx, WorkerFilter::all()).await?;
    let first = cx.create("a", &Program::Exit(0)).await?;
    let config = cx.builder("a", &Program::ObeyTerm(0)).build()?;
    let options = CreateOptions::generation(Generation::FIRST.next());
    let second = cx.provider().create_worker(&config, &options).await?.worker;
    cx.start(&second).await?;
    watching.until_phase(&second, WorkerPhase::Running).await?;
    cx.provider().delete_worker(&first, &DeleteOptions::default()).await?;
    loop {
        if let WorkerObservation::Gone(gone) = watching.step().await? {
            check_eq!(gone.worker, first);
            check!(!gone.native_id.is_empty(), "the word does not say which object is gone");
            break;
        }
    }
    check_eq!(watching.picture.get(&second), Some(&WorkerPhase::Running));
    cx.lists(&[second]).await?;
    Ok(())
}

async fn l10_watch_is_opened_again_after_all_were_dropped(cx: CaseContext) -> CaseResult {
    for n in 0..3 {
        let mut watching = Watching::open(&cx, WorkerFilter::all()).await?;
        check_eq!(watching.picture.len(), n);
        let worker = cx.create(&format!("w-{n}"), &Program::Exit(0)).await?;
        watching.until_phase(&worker, WorkerPhase::Created).await?;
    }
    Ok(())
}

async fn l10_waiting_for_an_exit_means_the_present_run(cx: CaseContext) -> CaseResult {
    // A watch that somebody else has open may still know what was before.
    let _other = Watching::open(&cx, WorkerFilter::all()).await?;
    let worker = cx.create("a", &Program::Exit(0)).await?;
    let mut last = None;
    for _ in 0..10 {
        cx.provider().start_worker(&worker, &StartOptions::after(last.clone())).await?;
        let end = cx.provider().wait_for_exit(&worker).await?;
        check_eq!(end.phase, WorkerPhase::Exited);
        check!(end.run != last, "the end of the run before: {end:?}");
        last.clone_from(&end.run);
    }
    Ok(())
}

/// The next status of the worker that a watch tells in this phase.
async fn told(
    watching: &mut Watching,
    worker: &WorkerRef,
    phase: WorkerPhase,
) -> CaseResult<Arc<WorkerStatus>> {
    loop {
        if let Some(status) = watching.step().await?.status()
            && status.worker == *worker
            && status.phase == phase
        {
            return Ok(Arc::clone(status));
        }
    }
}

async fn l10_of_two_statuses_it_is_told_which_is_later(cx: CaseContext) -> CaseResult {
    let mut watching = Watching::open(&cx, WorkerFilter::all()).await?;
    let worker = cx.create("a", &Program::ObeyTerm(0)).await?;
    let created = cx.provider().get_worker_status(&worker).await?;
    cx.start(&worker).await?;
    let running = cx.until(&worker, "running", |status| status.phase == WorkerPhase::Running).await?;
    let told_running = told(&mut watching, &worker, WorkerPhase::Running).await?;
    cx.provider().stop_worker(&worker, &crate::provider::StopOptions::kill()).await?;
    let exited = told(&mut watching, &worker, WorkerPhase::Exited).await?;
    let read = cx.provider().get_worker_status(&worker).await?;
    for (earlier, later) in
        [(&created, &running), (&created, &told_running), (&running, &exited), (&running, &read)]
    {
        check_eq!(later.is_newer_than(earlier), Some(true));
        check_eq!(earlier.is_newer_than(later), Some(false));
    }
    Ok(())
}

async fn l10_the_word_that_one_is_gone_names_its_run(cx: CaseContext) -> CaseResult {
    let mut watching = Watching::open(&cx, WorkerFilter::all()).await?;
    let worker = cx.run("a", &Program::Exit(0)).await?;
    let exited = told(&mut watching, &worker, WorkerPhase::Exited).await?;
    check!(exited.run.is_some(), "the status names no run: {exited:?}");
    cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?;
    loop {
        if let WorkerObservation::Gone(gone) = watching.step().await? {
            check_eq!((&gone.native_id, &gone.run), (&exited.native_id, &exited.run));
            return Ok(());
        }
    }
}
