use super::{CaseContext, CaseResult, PATIENCE, Program, cases, check, check_eq, eventually};
use crate::{
    model::{GroupRef, WorkerRef},
    provider::WorkerFilter,
    status::{ExitStatus, WorkerPhase},
};

cases! {
    p1_list_by_labels [];
    p1_list_by_id_and_by_type [];
    p1_list_of_nothing_is_empty [];
    p1_list_tells_what_the_status_tells [KeepsEnded];
    p1_status_of_what_is_missing_is_absent [];
    p1_status_shows_the_users_labels_alone [];
    p1_list_is_in_order [];
    p1_a_status_is_as_of_when_it_was_read [];
}

async fn ids(cx: &CaseContext, filter: WorkerFilter) -> CaseResult<Vec<String>> {
    let listing = cx.provider().list_workers(&filter).await?;
    Ok(listing.workers.iter().map(|status| status.worker.id.to_string()).collect())
}

async fn p1_list_by_labels(cx: CaseContext) -> CaseResult {
    for (id, team, stage) in [("a", "red", "prod"), ("b", "red", "test"), ("c", "blue", "prod")] {
        let builder =
            cx.builder(id, &Program::ObeyTerm(0)).label("team", team).label("example.com/stage", stage);
        cx.create_as(builder).await?;
    }
    let all = WorkerFilter::all;
    check_eq!(ids(&cx, all()).await?, ["a", "b", "c"]);
    check_eq!(ids(&cx, all().label("team", "red")).await?, ["a", "b"]);
    check_eq!(ids(&cx, all().label("team", "red").label("example.com/stage", "prod")).await?, ["a"]);
    check_eq!(ids(&cx, all().label("team", "re")).await?, [""; 0]);
    check_eq!(ids(&cx, all().label("nobody", "has this")).await?, [""; 0]);
    Ok(())
}

async fn p1_list_by_id_and_by_type(cx: CaseContext) -> CaseResult {
    for (id, group) in [("a", "web"), ("b", "web"), ("c", "db")] {
        cx.create_as(cx.builder(id, &Program::ObeyTerm(0)).worker_type(group)).await?;
    }
    cx.create("d", &Program::ObeyTerm(0)).await?;
    check_eq!(ids(&cx, WorkerFilter::worker_type("web".parse()?)).await?, ["a", "b"]);
    check_eq!(ids(&cx, WorkerFilter::id("c".parse()?)).await?, ["c"]);
    check_eq!(ids(&cx, WorkerFilter::worker_type("none".parse()?)).await?, [""; 0]);
    let listing = cx.provider().list_workers(&WorkerFilter::id("a".parse()?)).await?;
    check_eq!(listing.workers[0].worker_type, Some(GroupRef::new("web")?));
    Ok(())
}

async fn p1_list_of_nothing_is_empty(cx: CaseContext) -> CaseResult {
    cx.lists(&[]).await?;
    Ok(())
}

async fn p1_list_tells_what_the_status_tells(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Exit(4)).await?;
    let status = cx.ended(&worker).await?;
    let listing = cx.provider().list_workers(&WorkerFilter::all()).await?;
    check_eq!(listing.workers.len(), 1);
    let listed = &listing.workers[0];
    check_eq!(listed.exit, Some(ExitStatus::Code(4)));
    check_eq!((&listed.worker, listed.phase, &listed.run), (&status.worker, status.phase, &status.run));
    check_eq!((&listed.native_id, &listed.ownership), (&status.native_id, &status.ownership));
    check_eq!((listed.failure, &listed.labels), (status.failure, &status.labels));
    Ok(())
}

async fn p1_status_of_what_is_missing_is_absent(cx: CaseContext) -> CaseResult {
    let nobody = WorkerRef::first("nobody".parse()?);
    let status = cx.provider().get_worker_status(&nobody).await?;
    check!(matches!(status.phase, WorkerPhase::Absent | WorkerPhase::NotVisibleYet), "{status:?}");
    check_eq!((&status.worker, status.exit), (&nobody, None));
    let worker = cx.create("a", &Program::ObeyTerm(0)).await?;
    let next = WorkerRef { id: worker.id, generation: worker.generation.next() };
    check!(
        cx.provider().get_worker_status(&next).await?.native_id.is_empty(),
        "another generation was taken for it"
    );
    Ok(())
}

async fn p1_status_shows_the_users_labels_alone(cx: CaseContext) -> CaseResult {
    let worker = cx.create_as(cx.builder("a", &Program::ObeyTerm(0)).label("team", "red")).await?;
    let status = cx.provider().get_worker_status(&worker).await?;
    check_eq!(status.labels.len(), 1);
    check_eq!(status.labels.get("team").map(String::as_str), Some("red"));
    Ok(())
}

async fn p1_list_is_in_order(cx: CaseContext) -> CaseResult {
    for id in ["c", "a", "b", "a-1"] {
        cx.create(id, &Program::ObeyTerm(0)).await?;
    }
    check_eq!(ids(&cx, WorkerFilter::all()).await?, ["a", "a-1", "b", "c"]);
    Ok(())
}

async fn p1_a_status_is_as_of_when_it_was_read(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::ObeyTerm(0)).await?;
    let begun = cx.now();
    // What is remembered for a moment says so, and is read again after it.
    eventually(PATIENCE, async || {
        let status = cx.provider().get_worker_status(&worker).await?;
        let listing = cx.provider().list_workers(&WorkerFilter::all()).await?;
        let listed = listing.workers.iter().map(|status| status.as_of);
        for as_of in listed.chain([status.as_of, listing.as_of]) {
            check!(as_of >= begun, "as of {as_of}, read after {begun}");
            check!(as_of <= cx.now(), "as of {as_of}, which is to come");
        }
        Ok(())
    })
    .await
}
