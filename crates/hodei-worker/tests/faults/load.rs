//! More at once than there is room for, and managers that are dropped.

use std::time::Duration;

use hodei_worker::{
    ErrorKind, WorkerState,
    manager::{RemoveWorker, Shutdown, StopWorker, WorkerQuery},
    testkit::Program,
};

use crate::{
    bed::{Bed, program, runs, sleeper},
    weak::Weakness::Slow,
};

const WORKERS: usize = 200;

#[tokio::test(start_paused = true)]
async fn l6_a_storm_through_a_queue_of_one_ends_well() {
    let bed = Bed::new();
    let mut settings = Bed::settings();
    settings.queue = 1;
    let manager = bed.manager_with(bed.provider("fake"), settings).await;
    let lives = (0..WORKERS).map(|n| {
        let (manager, bed) = (manager.clone(), &bed);
        async move {
            let config = sleeper(&format!("w{n}"));
            let id = &config.worker_id;
            manager.create_worker(&config).await.unwrap();
            let known = manager.wait_for(id, runs).await.unwrap();
            bed.platform.kill(&bed.installation, &known.reference());
            let run = known.run.clone();
            manager.wait_for(id, move |worker| runs(worker) && worker.run != run).await.unwrap();
            // Many want something of it at once.
            let (start, stop) = (manager.start_worker(id), StopWorker::kill());
            let (started, stopped) = tokio::join!(start, manager.stop_worker(id, &stop));
            started.unwrap();
            stopped.unwrap();
            manager.wait_for_end(id).await.unwrap();
            if n % 2 == 0 {
                manager.remove_worker(id, &RemoveWorker::kill()).await.unwrap();
                manager.wait_until_gone(id).await.unwrap();
            }
        }
    });
    futures::future::join_all(lives).await;
    let left = manager.workers(&WorkerQuery::all()).await.unwrap();
    assert_eq!((left.len(), bed.platform.len()), (WORKERS / 2, WORKERS / 2));
    assert!(left.iter().all(|worker| worker.state == Some(WorkerState::Stopped)));
    manager.shutdown(Shutdown::Remove { grace: None }).await.unwrap();
    assert!(bed.platform.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l6_who_gives_commands_waits_while_the_store_is_busy() {
    const ROOM: usize = 4;
    let bed = Bed::new();
    let mut settings = Bed::settings();
    settings.queue = ROOM;
    let manager = bed.manager_with(bed.provider("fake"), settings).await;
    bed.store.writes(std::iter::repeat_n(Slow(Duration::from_secs(1)), 400));
    let configs: Vec<_> = (0..100).map(|n| sleeper(&format!("w{n}"))).collect();
    let creations = configs.iter().map(|config| manager.create_worker(config));
    futures::future::try_join_all(creations).await.unwrap();
    for config in &configs {
        manager.wait_for(&config.worker_id, runs).await.unwrap();
    }
    // What calls bring back is written whatever there is: each was made for a worker that had its turn.
    let most = bed.store.most_at_once();
    assert!(most < 100 / 4, "{most} writes at once");
    // Questions are answered all the while.
    bed.store.writes(std::iter::repeat_n(Slow(Duration::from_secs(3600)), ROOM));
    let stops = configs.iter().take(ROOM + 2).map(|config| {
        let (manager, id) = (manager.clone(), config.worker_id.clone());
        tokio::spawn(async move { manager.stop_worker(&id, &StopWorker::kill()).await })
    });
    let stops: Vec<_> = stops.collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let all = WorkerQuery::all();
    let asked = tokio::time::timeout(Duration::from_secs(1), manager.workers(&all));
    assert_eq!(asked.await.expect("it does not answer").unwrap().len(), 100);
    for stop in stops {
        stop.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn l6_a_worker_of_which_too_much_is_wanted_says_so() {
    let bed = Bed::new();
    let manager = bed.manager().await;
    let config = sleeper("a");
    let id = &config.worker_id;
    manager.create_worker(&config).await.unwrap();
    manager.wait_for(id, runs).await.unwrap();
    bed.store.writes([Slow(Duration::from_secs(60))]);
    let stop = StopWorker::kill();
    let commands = (0..200).map(|_| manager.stop_worker(id, &stop));
    let results = futures::future::join_all(commands).await;
    let (done, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert!(!done.is_empty() && !refused.is_empty(), "{} and {}", done.len(), refused.len());
    for error in refused.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
        assert!(error.is_retryable(), "{error}");
    }
    assert_eq!(manager.wait_for_end(id).await.unwrap().state, Some(WorkerState::Stopped));
}

#[tokio::test(start_paused = true)]
async fn l6_a_manager_ends_although_its_store_does_not_answer() {
    let bed = Bed::new();
    let manager = bed.manager().await;
    let config = sleeper("a");
    manager.create_worker(&config).await.unwrap();
    manager.wait_for(&config.worker_id, runs).await.unwrap();
    bed.store.writes([Slow(Duration::from_secs(24 * 3600))]);
    let (other, id) = (manager.clone(), config.worker_id.clone());
    let stop = tokio::spawn(async move { other.stop_worker(&id, &StopWorker::kill()).await });
    while !bed.store.is_spent() {
        tokio::task::yield_now().await;
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), manager.shutdown(Shutdown::HandOver));
    ended.await.expect("it goes on").unwrap();
    assert!(stop.await.unwrap().is_err(), "nobody knows whether that was written");
    let next = bed.manager().await;
    assert_eq!(next.worker(&config.worker_id).await.unwrap().unwrap().state, Some(WorkerState::Running));
}

#[tokio::test(start_paused = true)]
async fn l6_a_manager_leaves_no_task_behind() {
    for orderly in [true, false] {
        let bed = Bed::new();
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let manager = bed.manager().await;
        let config = program("a", &Program::Exit(0)).build().unwrap();
        manager.create_worker(&config).await.unwrap();
        manager.wait_for_end(&config.worker_id).await.unwrap();
        assert!(tasks() > before);
        if orderly {
            manager.shutdown(Shutdown::HandOver).await.unwrap();
        }
        drop(manager);
        let gone = async {
            while tasks() > before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.expect("tasks are left behind");
    }
}
