//! A store that fails for a while: nothing that was acknowledged is lost, nothing is done twice.

use std::time::Duration;

use hodei_worker::{
    ErrorKind, WorkerState,
    manager::{RemoveWorker, Shutdown, StopWorker, WorkerQuery},
    provider::Operation,
    store::EventStore as _,
};

use crate::{
    bed::{Bed, runs, sleeper},
    weak::Weakness::{Away, Full, LosesAnswer, LosesRequest, None as Well, Slow, SlowlyFull},
};

#[tokio::test(start_paused = true)]
async fn l6_a_command_that_a_full_disk_refused_was_not_done() {
    let bed = Bed::new();
    let manager = bed.manager().await;
    let config = sleeper("a");
    let id = &config.worker_id;
    bed.store.writes([Full]);
    let refused = manager.create_worker(&config).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Capacity);
    assert!(refused.to_string().contains("make room") || refused.help().is_some(), "{refused}");
    assert!(manager.workers(&WorkerQuery::all()).await.unwrap().is_empty());
    assert_eq!(bed.platform.calls(Operation::Create), 0);

    manager.create_worker(&config).await.unwrap();
    let running = manager.wait_for(id, runs).await.unwrap();
    bed.store.writes([Full]);
    assert_eq!(
        manager.stop_worker(id, &StopWorker::default()).await.unwrap_err().kind(),
        ErrorKind::Capacity
    );
    assert_eq!(manager.worker(id).await.unwrap(), Some(running));
    // It goes on as if nobody had asked: it takes work.
    drop(manager.begin_job(id, 0).await.unwrap());
    manager.stop_worker(id, &StopWorker::default()).await.unwrap();
    assert_eq!(manager.wait_for_end(id).await.unwrap().state, Some(WorkerState::Stopped));
}

#[tokio::test(start_paused = true)]
async fn l6_what_happens_while_the_disk_is_full_is_written_when_there_is_room() {
    let bed = Bed::new();
    let manager = bed.manager().await;
    let config = sleeper("a");
    let id = &config.worker_id;
    bed.store.writes([Well, Full, Full, Full, Well, Full, Full]);
    manager.create_worker(&config).await.unwrap();
    let known = manager.wait_for(id, runs).await.unwrap();
    assert!(bed.store.is_spent());
    bed.store.writes([Full, Full, Full]);
    bed.platform.kill(&bed.installation, &known.reference());
    let run = known.run.clone();
    let again = manager.wait_for(id, move |worker| runs(worker) && worker.run != run).await.unwrap();
    assert_eq!((again.earlier_run, again.recovery.unwrap().attempts), (known.run, 1));
    assert_eq!(bed.platform.calls(Operation::Create), 1);
}

#[tokio::test(start_paused = true)]
async fn l6_what_fails_the_second_try_says_nothing_about_the_first() {
    for then in [vec![Away, Away, Away], vec![Full], vec![LosesRequest, Away, Full]] {
        let bed = Bed::new();
        let manager = bed.manager().await;
        let config = sleeper("a");
        let id = &config.worker_id;
        bed.store.writes([LosesAnswer].into_iter().chain(then.clone()));
        manager.create_worker(&config).await.unwrap();
        manager.wait_for(id, runs).await.unwrap();
        manager.quiet().await.unwrap();
        bed.store.writes([LosesAnswer].into_iter().chain(then));
        manager.stop_worker(id, &StopWorker::default()).await.unwrap();
        assert_eq!(manager.wait_for_end(id).await.unwrap().state, Some(WorkerState::Stopped));
        assert_eq!(bed.platform.calls(Operation::Create), 1);
        // What was not written by any try is refused in the end.
        manager.quiet().await.unwrap();
        bed.store.writes([LosesRequest, Full]);
        let refused = manager.start_worker(id).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Capacity);
    }
}

#[tokio::test(start_paused = true)]
async fn l6_who_waits_for_a_worker_that_is_not_created_is_told() {
    let bed = Bed::new();
    let manager = bed.manager().await;
    let config = sleeper("a");
    bed.store.writes([SlowlyFull(Duration::from_secs(1))]);
    let (created, waited) = tokio::join!(manager.create_worker(&config), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        manager.wait_for(&config.worker_id, runs).await
    });
    assert_eq!(created.unwrap_err().kind(), ErrorKind::Capacity);
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn l6_a_write_whose_answer_was_lost_is_looked_for() {
    for weakness in [LosesAnswer, LosesRequest] {
        let bed = Bed::new();
        // The store cannot be asked at first, either.
        bed.store.reads([LosesRequest, LosesRequest]);
        let manager = bed.manager().await;
        let config = sleeper("a");
        let id = &config.worker_id;
        bed.store.writes([weakness]);
        manager.create_worker(&config).await.unwrap();
        bed.store.writes([weakness, weakness, weakness]);
        let known = manager.wait_for(id, runs).await.unwrap();
        bed.store.writes([weakness, weakness, weakness, weakness]);
        bed.platform.kill(&bed.installation, &known.reference());
        let run = known.run.clone();
        let again = manager.wait_for(id, move |worker| runs(worker) && worker.run != run).await.unwrap();
        assert_eq!((&again.earlier_run, again.recovery.as_ref().unwrap().attempts), (&known.run, 1));
        assert_eq!(bed.platform.calls(Operation::Create), 1);
        manager.quiet().await.unwrap();
        let before = manager.worker(id).await.unwrap();
        manager.shutdown(Shutdown::HandOver).await.unwrap();
        // The log says the same.
        let second = bed.manager().await;
        assert_eq!(second.worker(id).await.unwrap(), before);
        bed.store.writes([weakness]);
        second.remove_worker(id, &RemoveWorker::kill()).await.unwrap();
        bed.store.writes([weakness, weakness, weakness]);
        second.wait_until_gone(id).await.unwrap();
        assert!(bed.platform.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn l6_a_slow_store_delays_and_loses_nothing() {
    let bed = Bed::new();
    let manager = bed.manager().await;
    bed.store.writes(std::iter::repeat_n(Slow(Duration::from_secs(3)), 200));
    let configs: Vec<_> = (0..20).map(|n| sleeper(&format!("w{n}"))).collect();
    let creations = configs.iter().map(|config| manager.create_worker(config));
    futures::future::try_join_all(creations).await.unwrap();
    for config in &configs {
        manager.wait_for(&config.worker_id, runs).await.unwrap();
    }
    assert_eq!((bed.platform.len(), bed.platform.calls(Operation::Create)), (20, 20));
    manager.shutdown(Shutdown::Remove { grace: Some(Duration::ZERO) }).await.unwrap();
    assert!(bed.platform.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l6_a_worker_whose_beginning_is_missing_is_not_forgotten() {
    let bed = Bed::new();
    let mut settings = Bed::settings();
    settings.keep_events = 0;
    let manager = bed.manager_with(bed.provider("fake"), settings).await;
    let (stays, goes) = (sleeper("stays"), sleeper("goes"));
    for config in [&stays, &goes] {
        manager.create_worker(config).await.unwrap();
        manager.wait_for(&config.worker_id, runs).await.unwrap();
    }
    manager.quiet().await.unwrap();
    manager.compact().await.unwrap();
    // What comes after the snapshots stays in the log.
    manager.remove_worker(&goes.worker_id, &RemoveWorker::kill()).await.unwrap();
    manager.wait_until_gone(&goes.worker_id).await.unwrap();
    manager.stop_worker(&stays.worker_id, &StopWorker::kill()).await.unwrap();
    manager.wait_for_end(&stays.worker_id).await.unwrap();
    manager.shutdown(Shutdown::HandOver).await.unwrap();
    let whole = bed.manager().await;
    assert_eq!(whole.workers(&WorkerQuery::all()).await.unwrap().len(), 1);
    whole.shutdown(Shutdown::HandOver).await.unwrap();
    bed.store.forget_snapshots();
    let refused = bed.open().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    assert_eq!(refused.context_value("worker"), Some("stays"));
}

#[tokio::test(start_paused = true)]
async fn l6_a_log_that_was_compacted_meanwhile_gives_the_same_view() {
    let bed = Bed::new();
    let mut settings = Bed::settings();
    (settings.compact_every, settings.keep_events) = (7, 0);
    let manager = bed.manager_with(bed.provider("fake"), settings).await;
    for n in 0..30 {
        let config = sleeper(&format!("w{n}"));
        manager.create_worker(&config).await.unwrap();
        let known = manager.wait_for(&config.worker_id, runs).await.unwrap();
        match n % 3 {
            0 => bed.platform.kill(&bed.installation, &known.reference()),
            1 => manager.remove_worker(&config.worker_id, &RemoveWorker::kill()).await.unwrap(),
            _ => {}
        }
        if n % 5 == 0 {
            bed.store.writes([Well, LosesAnswer]);
            let _ = manager.compact().await;
        }
    }
    for n in (0..30).filter(|n| n % 3 == 0) {
        let again = |worker: &hodei_worker::lifecycle::Worker| runs(worker) && worker.earlier_run.is_some();
        manager.wait_for(&format!("w{n}").parse().unwrap(), again).await.unwrap();
    }
    for n in (0..30).filter(|n| n % 3 == 1) {
        let id = format!("w{n}").parse().unwrap();
        let gone = manager.wait_until_gone(&id);
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("it stays").unwrap();
    }
    manager.quiet().await.unwrap();
    manager.compact().await.unwrap();
    let before = manager.workers(&WorkerQuery::all()).await.unwrap();
    manager.shutdown(Shutdown::HandOver).await.unwrap();
    assert!(bed.store.read(0, 1).await.unwrap().compacted);
    let second = bed.manager().await;
    let after = second.workers(&WorkerQuery::all()).await.unwrap();
    assert_eq!((before.len(), after.len()), (20, 20));
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(after, before);
    }
}
