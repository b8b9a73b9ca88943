use super::{CaseContext, CaseResult, Program, cases, check, check_eq, fails_with};
use crate::{
    error::ErrorKind,
    model::{Generation, WorkerHandle, WorkerRef},
    provider::{CreateOptions, WorkerFilter},
    status::WorkerPhase,
};

cases! {
    p1_create_makes_one_worker_that_does_not_run [DeferredStart];
    p1_create_twice_makes_one [];
    p1_create_again_with_another_configuration_is_a_conflict [];
    p1_create_at_once_many_times_makes_one [];
    p1_create_after_the_end_returns_the_same_worker [KeepsEnded];
    p1_create_of_a_later_generation_makes_another_worker [DeferredStart, KeepsEnded];
    p1_create_again_after_delete_makes_a_new_worker [DeferredStart, KeepsEnded];
    p1_create_accepts_the_longest_id [KeepsEnded];
    p1_create_names_no_two_workers_alike [];
    p1_create_tells_the_image_that_it_was_made_of [ImageIds];
    l6_create_marks_the_worker_as_ours [];
    l6_create_returns_a_handle_that_a_listing_rebuilds [];
}

async fn p1_create_makes_one_worker_that_does_not_run(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::Exit(0)).await?;
    let status = cx.provider().get_worker_status(&worker).await?;
    check_eq!(status.phase, WorkerPhase::Created);
    check_eq!((&status.run, &status.exit, &status.failure), (&None, &None, &None));
    cx.lists(std::slice::from_ref(&worker)).await?;
    if cx.has(crate::Capability::Logs) {
        check_eq!(cx.text(&worker).await?, "");
    }
    Ok(())
}

async fn p1_create_twice_makes_one(cx: CaseContext) -> CaseResult {
    let config = cx.builder("a", &Program::ObeyTerm(0)).build()?;
    let first = cx.provider().create_worker(&config, &CreateOptions::default()).await?;
    let second = cx.provider().create_worker(&config, &CreateOptions::default()).await?;
    check_eq!(first, second);
    cx.lists(&[first.worker]).await?;
    Ok(())
}

async fn p1_create_tells_the_image_that_it_was_made_of(cx: CaseContext) -> CaseResult {
    let config = cx.builder("a", &Program::ObeyTerm(0)).build()?;
    let handle = cx.provider().create_worker(&config, &CreateOptions::default()).await?;
    let means = cx.provider().get_image_id(&config).await?;
    check_eq!(means.is_some(), config.image.is_some());
    check_eq!(cx.provider().get_worker_status(&handle.worker).await?.image_id, means);
    for status in cx.provider().list_workers(&WorkerFilter::all()).await?.workers {
        check_eq!(status.image_id, means);
    }
    Ok(())
}

async fn p1_create_again_with_another_configuration_is_a_conflict(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::ObeyTerm(0)).await?;
    let other = cx.builder("a", &Program::ObeyTerm(0)).env("ANOTHER", "1").build()?;
    fails_with(ErrorKind::Conflict, cx.provider().create_worker(&other, &CreateOptions::default()).await)?;
    cx.lists(&[worker]).await?;
    Ok(())
}

async fn p1_create_at_once_many_times_makes_one(cx: CaseContext) -> CaseResult {
    let config = cx.builder("a", &Program::ObeyTerm(0)).build()?;
    let options = CreateOptions::default();
    let calls = (0..8).map(|_| cx.provider().create_worker(&config, &options));
    let handles = futures::future::try_join_all(calls).await?;
    check!(handles.windows(2).all(|pair| pair[0] == pair[1]), "different handles: {handles:?}");
    check_eq!(cx.listed().await?.len(), 1);
    Ok(())
}

async fn p1_create_after_the_end_returns_the_same_worker(cx: CaseContext) -> CaseResult {
    let config = cx.builder("a", &Program::Exit(0)).build()?;
    let first = cx.provider().create_worker(&config, &CreateOptions::default()).await?;
    cx.start(&first.worker).await?;
    let ended = cx.ended(&first.worker).await?;
    let second = cx.provider().create_worker(&config, &CreateOptions::default()).await?;
    check_eq!(first, second);
    let status = cx.ended(&first.worker).await?;
    check_eq!(status.run, ended.run);
    Ok(())
}

async fn p1_create_of_a_later_generation_makes_another_worker(cx: CaseContext) -> CaseResult {
    let first = cx.create("a", &Program::Exit(0)).await?;
    let config = cx.builder("a", &Program::Exit(1)).build()?;
    let options = CreateOptions::generation(Generation::FIRST.next());
    let second = cx.provider().create_worker(&config, &options).await?.worker;
    check_eq!(second, WorkerRef::new(first.id.clone(), 2));
    cx.lists(&[first.clone(), second.clone()]).await?;
    cx.start(&second).await?;
    cx.ended(&second).await?;
    check!(cx.provider().get_worker_status(&first).await?.run.is_none(), "the first generation was started");
    Ok(())
}

async fn p1_create_again_after_delete_makes_a_new_worker(cx: CaseContext) -> CaseResult {
    let config = cx.builder("a", &Program::Exit(0)).build()?;
    let first = cx.provider().create_worker(&config, &CreateOptions::default()).await?;
    cx.start(&first.worker).await?;
    let run = cx.ended(&first.worker).await?.run.clone();
    cx.provider().delete_worker(&first.worker, &Default::default()).await?;
    let second = cx.provider().create_worker(&config, &CreateOptions::default()).await?;
    check!(first.native_id != second.native_id, "the same native id {} again", first.native_id);
    let status = cx.until(&second.worker, "created", |status| status.phase != WorkerPhase::Absent).await?;
    check_eq!(status.run, None);
    cx.start(&second.worker).await?;
    let status = cx.ended(&second.worker).await?;
    check!(status.run != run, "the run {run:?} again");
    Ok(())
}

async fn p1_create_accepts_the_longest_id(cx: CaseContext) -> CaseResult {
    let id = "x".repeat(40);
    let worker = cx.run(&id, &Program::Exit(0)).await?;
    check_eq!(cx.ended(&worker).await?.worker.id.as_str(), id);
    Ok(())
}

async fn p1_create_names_no_two_workers_alike(cx: CaseContext) -> CaseResult {
    // Joined with `-`, these would be the same.
    for (id, generation) in [("a", 11), ("a-1", 1), ("a-1-1", 1), ("a1", 1)] {
        let config = cx.builder(id, &Program::ObeyTerm(0)).build()?;
        let options = CreateOptions::generation(Generation::new(generation).unwrap_or_default());
        cx.provider().create_worker(&config, &options).await?;
    }
    let mut names: Vec<String> = Vec::new();
    for status in cx.provider().list_workers(&WorkerFilter::all()).await?.workers {
        names.push(status.native_id.clone());
    }
    names.sort();
    names.dedup();
    check_eq!(names.len(), 4);
    Ok(())
}

async fn l6_create_marks_the_worker_as_ours(cx: CaseContext) -> CaseResult {
    let config = cx.builder("a", &Program::ObeyTerm(0)).build()?;
    let intent = crate::model::IntentMark { log: "log-1".parse()?, position: 42 };
    let options = CreateOptions::default().with_intent(intent.clone());
    let handle = cx.provider().create_worker(&config, &options).await?;
    let status = cx.provider().get_worker_status(&handle.worker).await?;
    let Some(ownership) = &status.ownership else {
        return Err(super::CaseFailure::new("the status names no owner"));
    };
    check_eq!(&ownership.installation, cx.installation());
    check_eq!(ownership.worker, handle.worker);
    check_eq!(ownership.intent, Some(intent));
    check_eq!(ownership.fingerprint, Some(config.fingerprint()));
    Ok(())
}

async fn l6_create_returns_a_handle_that_a_listing_rebuilds(cx: CaseContext) -> CaseResult {
    let config = cx.builder("a", &Program::ObeyTerm(0)).build()?;
    let handle = cx.provider().create_worker(&config, &CreateOptions::default()).await?;
    let host = cx.another_host().await?;
    let listing = host.list_workers(&WorkerFilter::all()).await?;
    check_eq!(listing.workers.len(), 1);
    let status = &listing.workers[0];
    let rebuilt =
        WorkerHandle::new(host.info().name.clone(), status.worker.clone(), status.native_id.clone());
    check_eq!(rebuilt, handle);
    Ok(())
}
