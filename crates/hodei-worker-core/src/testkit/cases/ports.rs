use std::io;

use tokio::io::AsyncReadExt as _;

use super::{CaseContext, CaseFailure, CaseResult, PATIENCE, Program, cases, check_eq, fails_with};
use crate::{error::ErrorKind, model::WorkerRef, status::WorkerPhase};

cases! {
    p1_a_port_at_which_nobody_listens_refuses [PortForward];
    p1_a_port_of_one_that_does_not_run_is_a_conflict [PortForward, DeferredStart];
    p1_a_port_of_what_is_missing_is_not_found [PortForward];
}

/// No program of the suite listens anywhere.
const PORT: u16 = 9;

async fn p1_a_port_at_which_nobody_listens_refuses(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::ObeyTerm(0)).await?;
    cx.until(&worker, "running", |status| status.phase == WorkerPhase::Running).await?;
    let mut connection = cx.provider().connect_worker_port(&worker, PORT).await?;
    match tokio::time::timeout(PATIENCE, connection.read_u8()).await {
        Ok(Err(error)) => check_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
        Ok(Ok(byte)) => return Err(CaseFailure::new(format!("somebody writes {byte}"))),
        Err(_) => return Err(CaseFailure::new("nothing is told")),
    }
    Ok(())
}

async fn p1_a_port_of_one_that_does_not_run_is_a_conflict(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::ObeyTerm(0)).await?;
    fails_with(ErrorKind::Conflict, cx.provider().connect_worker_port(&worker, PORT).await.map(|_| ()))?;
    Ok(())
}

async fn p1_a_port_of_what_is_missing_is_not_found(cx: CaseContext) -> CaseResult {
    let nobody = WorkerRef::first("nobody".parse()?);
    fails_with(ErrorKind::NotFound, cx.provider().connect_worker_port(&nobody, PORT).await.map(|_| ()))?;
    Ok(())
}
