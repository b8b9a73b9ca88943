//! More at once than there is room for, and managers that are dropped.

use std::time::Duration;

use hodei_worker::{
    WorkerState,
    manager::{RemoveWorker, Shutdown, StopWorker, WorkerQuery},
    testkit::Program,
};

use crate::bed::{Bed, program, runs, sleeper};

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
