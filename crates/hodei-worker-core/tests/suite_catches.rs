//! The behaviour suite catches what it is there for: providers with one flaw each, as peers have had them.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used)] // A test, all of it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use hodei_worker_core::{
    ProviderCapabilities, ProviderInfo, Result, WorkerConfig, WorkerHandle, WorkerObservation, WorkerPhase,
    WorkerProvider, WorkerRef, WorkerStatus,
    provider::{
        BoxStream, CreateOptions, DeleteOptions, ExecOptions, ExecSession, Listing, LogItem, LogOptions,
        StartOptions, StatsOptions, StopOptions, WatchOptions, WorkerFilter, WorkerStats,
    },
    status::{ExitStatus, FailureClass},
    testkit::{FakeSubject, case_names, failures},
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    /// A start runs whatever is not running, whether it has run or not.
    StartsAgain,
    /// What is gone has exited with 0.
    VanishedIsSuccess,
    /// The grace is not passed on.
    NoGrace,
    /// The worker's own grace does not count.
    IgnoresOwnGrace,
    /// A second stop does not shorten the first.
    NeverShortens,
    /// A deletion of what is missing is an error.
    DeleteOfMissingFails,
    /// The listing knows no labels.
    ListsAll,
    /// The watch tells no end of its first listing.
    NeverSynced,
    /// A watch tells nothing of what is gone.
    NothingIsGone,
    /// The last chunk of each log is lost.
    LosesTheLastLine,
    /// The log has no line feeds.
    StripsLineFeeds,
    /// Each creation has the first generation.
    ForgetsGenerations,
    /// A second creation with another configuration is accepted.
    NoConflict,
    /// A code above 128 is a signal.
    GuessesSignals,
    /// Commands have no standard input.
    NoStdin,
    /// A status is as of its worker's creation.
    AsOfCreation,
    /// One that was started again is still failed.
    KeepsTheFailure,
    /// A followed log ends with what is there, and stays open.
    FollowsNothing,
}

#[derive(Debug)]
struct Flawed {
    inner: Arc<dyn WorkerProvider>,
    flaw: Flaw,
    created: Mutex<HashSet<WorkerRef>>,
}

impl Flawed {
    fn mend(&self, status: Arc<WorkerStatus>) -> Arc<WorkerStatus> {
        let mut changed = (*status).clone();
        match (self.flaw, status.phase, status.exit) {
            (Flaw::VanishedIsSuccess, WorkerPhase::Absent, _) => changed.exit = Some(ExitStatus::Code(0)),
            (Flaw::GuessesSignals, _, Some(ExitStatus::Code(code @ 129..=192))) => {
                changed.exit = Some(ExitStatus::Signal(code - 128));
            }
            (Flaw::AsOfCreation, ..) => changed.as_of = changed.times.created.unwrap_or(changed.as_of),
            (Flaw::KeepsTheFailure, WorkerPhase::Running, _) => {
                (changed.failure, changed.times.finished) =
                    (Some(FailureClass::Killed), changed.times.created);
            }
            _ => return status,
        }
        Arc::new(changed)
    }
}

#[async_trait]
impl WorkerProvider for Flawed {
    fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }
    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        self.inner.get_capabilities().await
    }
    async fn create_worker(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        let mut options = options.clone();
        if self.flaw == Flaw::ForgetsGenerations {
            options.generation = Default::default();
        }
        let result = self.inner.create_worker(config, &options).await;
        let worker = WorkerRef { id: config.worker_id.clone(), generation: options.generation };
        match result {
            Err(_) if self.flaw == Flaw::NoConflict && self.created.lock().unwrap().contains(&worker) => {
                Ok(WorkerHandle::new(self.info().name.clone(), worker, "again"))
            }
            result => {
                self.created.lock().unwrap().insert(worker);
                result
            }
        }
    }
    async fn start_worker(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        if self.flaw == Flaw::StartsAgain {
            let status = self.inner.get_worker_status(worker).await?;
            if status.phase == WorkerPhase::Exited {
                return self.inner.start_worker(worker, &StartOptions::after(status.run.clone())).await;
            }
        }
        self.inner.start_worker(worker, options).await
    }
    async fn stop_worker(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        let options = match self.flaw {
            Flaw::NoGrace => StopOptions::kill(),
            Flaw::IgnoresOwnGrace => StopOptions::within(options.grace.unwrap_or(Duration::from_secs(4))),
            Flaw::NeverShortens if options.is_kill() => StopOptions::within(Duration::from_secs(25)),
            _ => options.clone(),
        };
        self.inner.stop_worker(worker, &options).await
    }
    async fn delete_worker(&self, worker: &WorkerRef, options: &DeleteOptions) -> Result<()> {
        let missing = self.inner.get_worker_status(worker).await?.phase == WorkerPhase::Absent;
        if missing && self.flaw == Flaw::DeleteOfMissingFails {
            return Err(hodei_worker_core::Error::worker_not_found(worker));
        }
        self.inner.delete_worker(worker, options).await
    }
    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        Ok(self.mend(self.inner.get_worker_status(worker).await?))
    }
    async fn list_workers(&self, filter: &WorkerFilter) -> Result<Listing> {
        let all = WorkerFilter::all();
        let mut listing =
            self.inner.list_workers(if self.flaw == Flaw::ListsAll { &all } else { filter }).await?;
        listing.workers = listing.workers.into_iter().map(|status| self.mend(status)).collect();
        Ok(listing)
    }
    async fn watch_workers(
        &self,
        options: &WatchOptions,
    ) -> Result<BoxStream<'static, Result<WorkerObservation>>> {
        let flaw = self.flaw;
        let keep = move |item: &Result<WorkerObservation>| {
            !matches!(
                (flaw, item),
                (Flaw::NeverSynced, Ok(WorkerObservation::Synced))
                    | (Flaw::NothingIsGone, Ok(WorkerObservation::Gone(_)))
            )
        };
        let stream = self.inner.watch_workers(options).await?;
        Ok(stream.filter(move |item| std::future::ready(keep(item))).boxed())
    }
    async fn worker_logs(
        &self,
        worker: &WorkerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        let mut stream = self.inner.worker_logs(worker, options).await?;
        match self.flaw {
            Flaw::LosesTheLastLine if !options.follow => {
                let mut all = Vec::new();
                while let Some(item) = stream.next().await {
                    all.push(item);
                }
                all.pop();
                Ok(futures::stream::iter(all).boxed())
            }
            Flaw::FollowsNothing if options.follow => {
                let mut there = options.clone();
                there.follow = false;
                let there = self.inner.worker_logs(worker, &there).await?;
                // It does end with the worker.
                let end = stream.filter(|_| std::future::ready(false));
                Ok(there.chain(end).boxed())
            }
            Flaw::StripsLineFeeds => Ok(stream
                .map(|item| {
                    item.map(|item| match item {
                        LogItem::Chunk(mut chunk) => {
                            chunk.bytes = chunk.text().into_owned().into();
                            LogItem::Chunk(chunk)
                        }
                        gap => gap,
                    })
                })
                .boxed()),
            _ => Ok(stream),
        }
    }
    async fn exec_in_worker(&self, worker: &WorkerRef, options: &ExecOptions) -> Result<ExecSession> {
        let mut session = self.inner.exec_in_worker(worker, options).await?;
        if self.flaw == Flaw::NoStdin {
            session.stdin = None;
        }
        Ok(session)
    }
    async fn get_image_id(&self, config: &WorkerConfig) -> Result<Option<String>> {
        self.inner.get_image_id(config).await
    }
    async fn worker_stats(&self, worker: &WorkerRef, options: &StatsOptions) -> Result<WorkerStats> {
        self.inner.worker_stats(worker, options).await
    }
}

/// Runs these cases against a provider with that flaw: every one must fail.
async fn catches(flaw: Flaw, names: &[&str]) {
    for name in names {
        assert!(case_names().contains(name), "there is no case {name}");
    }
    let subject = FakeSubject::new()
        .under("flawed", move |inner| Arc::new(Flawed { inner, flaw, created: Mutex::default() }));
    let failed: HashSet<&str> = failures(subject, names).await.into_iter().map(|(name, _)| name).collect();
    let missed: Vec<_> = names.iter().filter(|name| !failed.contains(**name)).collect();
    assert!(missed.is_empty(), "{flaw:?} passes {missed:?}");
    // The same cases pass without the flaw.
    assert_eq!(failures(FakeSubject::new(), names).await, []);
}

macro_rules! caught {
    ($($name:ident: $flaw:ident by [$($case:literal),+];)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            catches(Flaw::$flaw, &[$($case),+]).await;
        }
    )+};
}

caught! {
    p10_catches_a_second_run: StartsAgain by ["p1_start_after_the_end_runs_it_no_second_time", "p1_restart_with_an_old_token_runs_nothing"];
    p10_catches_a_vanished_success: VanishedIsSuccess by ["p1_status_of_what_is_missing_is_absent", "p1_delete_leaves_no_status_and_no_logs"];
    p10_catches_a_forgotten_grace: NoGrace by ["l5_stop_of_one_that_obeys_keeps_its_exit_code", "l5_stop_of_one_that_ignores_it_kills_at_the_deadline"];
    p10_catches_a_grace_of_its_own: IgnoresOwnGrace by ["l5_stop_uses_the_workers_own_grace"];
    p10_catches_a_grace_that_is_not_shortened: NeverShortens by ["l5_stop_again_can_shorten_the_grace"];
    p10_catches_a_delete_that_cannot_be_repeated: DeleteOfMissingFails by ["p1_delete_twice_succeeds", "p1_delete_of_what_is_missing_succeeds"];
    p10_catches_a_listing_without_filter: ListsAll by ["p1_list_by_labels", "p1_list_by_id_and_by_type"];
    p10_catches_a_deaf_watch: NothingIsGone by ["l10_watch_tells_a_whole_life", "l10_two_watches_see_the_same"];
    p10_catches_a_watch_that_never_syncs: NeverSynced by ["l10_watch_opens_with_a_whole_picture_in_brackets"];
    p10_catches_a_lost_line: LosesTheLastLine by ["d8_logs_of_one_that_has_exited", "d8_logs_without_a_final_line_feed"];
    p10_catches_changed_bytes: StripsLineFeeds by ["d8_logs_are_bytes", "d8_logs_with_empty_lines", "d8_logs_of_ten_megabytes"];
    p10_catches_a_forgotten_generation: ForgetsGenerations by ["p1_create_of_a_later_generation_makes_another_worker"];
    p10_catches_a_swallowed_conflict: NoConflict by ["p1_create_again_with_another_configuration_is_a_conflict"];
    p10_catches_a_guessed_signal: GuessesSignals by ["l8_exit_code_137_is_no_proof_of_a_kill", "l8_exit_code_143_is_no_proof_of_a_term"];
    p10_catches_a_missing_input: NoStdin by ["p1_exec_reads_standard_input"];
    p10_catches_a_time_that_stands_still: AsOfCreation by ["p1_a_status_is_as_of_when_it_was_read"];
    p10_catches_what_is_left_of_the_last_run: KeepsTheFailure by ["p1_restart_leaves_nothing_of_the_last_run"];
    p10_catches_a_log_that_is_not_live: FollowsNothing by ["d8_logs_are_followed_live_until_it_is_deleted"];
}
