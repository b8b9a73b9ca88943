use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hodei_worker_core::{ErrorKind, Retry, WorkerId};

use crate::jobs::{JobRecorder, Jobs, JobsChanges};

fn worker(id: &str) -> WorkerId {
    id.parse().unwrap()
}

/// All that is to be told by now.
async fn told(changes: &mut JobsChanges) -> Vec<(String, usize)> {
    let mut told = Vec::new();
    while let Ok(Some(change)) = tokio::time::timeout(Duration::ZERO, changes.next()).await {
        told.push((change.worker.to_string(), change.jobs));
    }
    told
}

#[derive(Debug, Default, Clone)]
struct Book(Arc<Mutex<Vec<(&'static str, u64)>>>);

impl JobRecorder for Book {
    fn job_ended(&self, _: &WorkerId, took: Duration) {
        self.0.lock().unwrap().push(("job", took.as_secs()));
    }
    fn was_busy(&self, _: &WorkerId, long: Duration) {
        self.0.lock().unwrap().push(("busy", long.as_secs()));
    }
}

#[tokio::test(start_paused = true)]
async fn l5_coming_to_have_jobs_and_to_have_none_is_told() {
    let (jobs, mut changes) = Jobs::new();
    let (one, other) = (worker("one"), worker("other"));
    let first = jobs.begin(&one, 0).unwrap();
    assert_eq!(told(&mut changes).await, [("one".to_owned(), 1)]);
    let second = jobs.begin(&one, 0).unwrap();
    assert_eq!((told(&mut changes).await, jobs.count(&one)), (vec![], 2));
    drop(first);
    assert_eq!((told(&mut changes).await, jobs.count(&one)), (vec![], 1));
    drop((second, jobs.begin(&other, 0).unwrap()));
    // Who came and went unread is told once.
    assert_eq!(told(&mut changes).await, [("other".to_owned(), 0), ("one".to_owned(), 0)]);
    assert_eq!(jobs.remembered(), 0);
    drop(jobs);
    assert_eq!(changes.next().await, None);
}

#[tokio::test]
async fn l5_who_waits_for_changes_is_woken() {
    let (jobs, mut changes) = Jobs::new();
    let waiting = tokio::spawn(async move {
        let first = changes.next().await;
        (first, changes.next().await)
    });
    tokio::task::yield_now().await;
    let job = jobs.begin(&worker("a"), 0).unwrap();
    tokio::task::yield_now().await;
    drop(jobs);
    // The guard is the last that knows of the registry.
    drop(job);
    let (first, last) = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    assert!(first.is_some() && last.is_none_or(|change| change.jobs == 0));
}

#[test]
fn l5_a_worker_that_drains_gets_no_jobs() {
    let (jobs, _changes) = Jobs::new();
    let a = worker("a");
    let job = jobs.begin(&a, 0).unwrap();
    assert_eq!(jobs.close(&a), 1);
    let error = jobs.begin(&a, 99).unwrap_err();
    assert_eq!((error.kind(), error.context_value("worker")), (ErrorKind::Conflict, Some("a")));
    // What it has goes on, and it may say so itself.
    jobs.reported(&a, true);
    drop(job);
    assert_eq!((jobs.count(&a), jobs.all()), (1, vec![(a.clone(), 1)]));
    jobs.reported(&a, false);
    assert_eq!((jobs.count(&a), jobs.remembered()), (0, 1));
    jobs.open(&a);
    assert_eq!(jobs.remembered(), 0);
    drop(jobs.begin(&a, 0).unwrap());
}

#[test]
fn l4_jobs_of_low_priority_are_shed() {
    let (jobs, _changes) = Jobs::new();
    let a = worker("a");
    jobs.shed_below(Some(5));
    let error = jobs.begin(&a, 4).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Overloaded, Retry::Safe { after: None }));
    assert_eq!(jobs.remembered(), 0);
    drop(jobs.begin(&a, 5).unwrap());
    jobs.shed_below(None);
    drop(jobs.begin(&a, i32::MIN).unwrap());
}

#[tokio::test(start_paused = true)]
async fn l11_jobs_and_busy_times_are_taken_down() {
    let book = Book::default();
    let (jobs, _changes) = Jobs::with_recorder(book.clone());
    let a = worker("a");
    let after = |secs| tokio::time::advance(Duration::from_secs(secs));
    let job = jobs.begin(&a, 0).unwrap();
    after(10).await;
    assert_eq!((job.elapsed(), jobs.busy_for(&a)), (Duration::from_secs(10), Some(Duration::from_secs(10))));
    jobs.reported(&a, true);
    after(5).await;
    drop(job);
    jobs.reported(&a, true);
    after(5).await;
    jobs.forget(&a);
    jobs.forget(&a);
    assert_eq!(*book.0.lock().unwrap(), [("job", 15), ("busy", 20), ("job", 10)]);
    assert_eq!(jobs.busy_for(&a), None);
}

#[test]
fn l5_no_job_slips_past_a_drain() {
    for _ in 0..50 {
        let (jobs, _changes) = Jobs::new();
        let a = worker("a");
        let (begun, closed) = std::thread::scope(|scope| {
            let begin = || (0..200).filter_map(|_| jobs.begin(&a, 0).ok()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(begin)).collect();
            let closed = jobs.close(&a);
            let begun: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            (begun, closed)
        });
        assert_eq!((begun.len(), jobs.count(&a)), (closed, closed));
        drop(begun);
        assert_eq!(jobs.count(&a), 0);
    }
}
