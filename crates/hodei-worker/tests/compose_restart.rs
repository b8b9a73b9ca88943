//! D10: an engine that goes down in the middle of an `up`. Alone in its binary, since it takes the engine away.
#![cfg(all(feature = "docker", feature = "compose"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

#[path = "compose/bed.rs"]
mod bed;

use std::process::Command;

use bed::{limit, on_engine, var, wholly};
use hodei_worker::{WorkerPhase, compose::UpOptions};

fn engine(verb: &str) {
    assert!(Command::new(var("HODEI_TEST_ENGINE")).arg(verb).status().unwrap().success(), "{verb}");
}

#[tokio::test]
async fn d10_an_engine_that_is_killed_in_the_middle_leaves_a_state_from_which_a_second_up_arrives() {
    on_engine("killed", |bed| async move {
        let text = "
services:
  a: {image: '${IMAGE}', command: sleep 1000, scale: 3, stop_grace_period: 0s, volumes: ['data:/data']}
  b: {image: '${IMAGE}', command: sleep 1000, scale: 3, stop_grace_period: 0s, depends_on: [a]}
volumes: {data: {}}
";
        let composition = bed.fit(text).await;
        let up = tokio::spawn({
            let composition = composition.clone();
            async move { composition.up(&UpOptions::default()).await }
        });
        limit(async {
            while composition.instances().await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        tokio::task::spawn_blocking(|| {
            engine("kill");
            engine("start");
        })
        .await
        .unwrap();
        // Whether it failed or came through is the engine's matter.
        drop(limit(up).await.unwrap());
        let (composition, all) = bed.up(text).await;
        let runs = all.iter().filter(|one| one.status.phase == WorkerPhase::Running).count();
        assert_eq!((runs, all.len()), (6, 6));
        limit(composition.down(&wholly())).await.unwrap();
        assert_eq!(bed.left(&composition).await, Vec::<String>::new());
    })
    .await;
}
