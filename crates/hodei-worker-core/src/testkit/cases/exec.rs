use tokio::io::AsyncWriteExt as _;

use super::{CaseContext, CaseFailure, CaseResult, PATIENCE, Program, cases, check, check_eq, fails_with};
use crate::{
    error::ErrorKind,
    model::WorkerRef,
    provider::{ExecOptions, ExecOutput, StopOptions},
    status::ExitStatus,
    testkit::program::FLOOD_LINE,
};

cases! {
    p1_exec_returns_the_exit_code [Exec, Logs];
    p1_exec_tells_output_from_errors [Exec, Logs];
    p1_exec_reads_standard_input [Exec, Logs];
    p1_exec_without_input_reads_an_end_of_file [Exec, Logs];
    p1_exec_of_large_output [Exec, Logs];
    p1_exec_sees_the_workers_environment [Exec, Logs];
    p1_exec_has_its_own_environment_and_folder [Exec, Logs];
    p1_exec_of_a_command_that_does_not_exist [Exec, Logs];
    p1_exec_in_one_that_does_not_run_is_a_conflict [Exec, DeferredStart, KeepsStopped];
    p1_exec_in_what_is_missing_is_not_found [Exec];
}

fn options(cx: &CaseContext, program: &Program) -> ExecOptions {
    ExecOptions::new(cx.subject().command(program))
}

async fn exec(cx: &CaseContext, worker: &WorkerRef, options: &ExecOptions) -> CaseResult<ExecOutput> {
    let running = async { Ok(cx.provider().exec_in_worker(worker, options).await?.collect().await?) };
    match tokio::time::timeout(PATIENCE, running).await {
        Ok(output) => output,
        Err(_) => Err(CaseFailure::new("the command did not end")),
    }
}

async fn host(cx: &CaseContext) -> CaseResult<WorkerRef> {
    cx.run_ready("a", &Program::ObeyTerm(0)).await
}

async fn p1_exec_returns_the_exit_code(cx: CaseContext) -> CaseResult {
    let worker = host(&cx).await?;
    for code in [0, 1, 77] {
        let output = exec(&cx, &worker, &options(&cx, &Program::Exit(code))).await?;
        check_eq!(output.exit, Some(ExitStatus::Code(code)));
        check_eq!(output.stdout, b"run\n");
    }
    Ok(())
}

async fn p1_exec_tells_output_from_errors(cx: CaseContext) -> CaseResult {
    let worker = host(&cx).await?;
    let program = Program::Print { stdout: b"out\xff\n".to_vec(), stderr: b"err".to_vec() };
    let output = exec(&cx, &worker, &options(&cx, &program)).await?;
    check_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\xff\n"[..], &b"err"[..]));
    check!(cx.count(&worker, "err").await? == 0, "the output went to the worker's log");
    Ok(())
}

async fn p1_exec_reads_standard_input(cx: CaseContext) -> CaseResult {
    let worker = host(&cx).await?;
    let mut session =
        cx.provider().exec_in_worker(&worker, &options(&cx, &Program::Echo).with_stdin()).await?;
    let Some(mut stdin) = session.stdin.take() else {
        return Err(CaseFailure::new("there is no standard input"));
    };
    let text = FLOOD_LINE.repeat(10_000);
    let writing = async {
        stdin.write_all(text.as_bytes()).await.map_err(|error| error.to_string())?;
        stdin.shutdown().await.map_err(|error| error.to_string())?;
        drop(stdin);
        Ok::<(), String>(())
    };
    let both = async { futures::join!(writing, session.collect()) };
    let Ok((written, output)) = tokio::time::timeout(PATIENCE, both).await else {
        return Err(CaseFailure::new("the command did not end with its input"));
    };
    written?;
    let output = output?;
    check_eq!(output.exit, Some(ExitStatus::Code(0)));
    check!(output.stdout == text.as_bytes(), "{} bytes came back of {}", output.stdout.len(), text.len());
    Ok(())
}

async fn p1_exec_without_input_reads_an_end_of_file(cx: CaseContext) -> CaseResult {
    let worker = host(&cx).await?;
    let output = exec(&cx, &worker, &options(&cx, &Program::Echo)).await?;
    check_eq!((output.exit, output.stdout.len()), (Some(ExitStatus::Code(0)), 0));
    Ok(())
}

async fn p1_exec_of_large_output(cx: CaseContext) -> CaseResult {
    let worker = host(&cx).await?;
    let output = exec(&cx, &worker, &options(&cx, &Program::Flood(3_000_000))).await?;
    check_eq!((output.exit, output.stdout.len()), (Some(ExitStatus::Code(0)), 3_000_000));
    Ok(())
}

async fn p1_exec_sees_the_workers_environment(cx: CaseContext) -> CaseResult {
    let worker = cx.run_as(cx.builder("a", &Program::ObeyTerm(0)).env("VALUE", "of the worker")).await?;
    cx.says(&worker, "ready").await?;
    let output = exec(&cx, &worker, &options(&cx, &Program::Environment("VALUE".into()))).await?;
    check_eq!(String::from_utf8_lossy(&output.stdout).into_owned(), "of the worker");
    Ok(())
}

async fn p1_exec_has_its_own_environment_and_folder(cx: CaseContext) -> CaseResult {
    let worker = cx.run_as(cx.builder("a", &Program::ObeyTerm(0)).env("VALUE", "of the worker")).await?;
    cx.says(&worker, "ready").await?;
    let asked = options(&cx, &Program::Environment("VALUE".into())).env("VALUE", "its own");
    check_eq!(exec(&cx, &worker, &asked).await?.stdout, b"its own");
    let asked = options(&cx, &Program::WorkingDirectory).working_dir("/proc");
    check_eq!(exec(&cx, &worker, &asked).await?.stdout, b"/proc\n");
    Ok(())
}

async fn p1_exec_of_a_command_that_does_not_exist(cx: CaseContext) -> CaseResult {
    let worker = host(&cx).await?;
    match cx.provider().exec_in_worker(&worker, &options(&cx, &Program::Missing)).await {
        Err(error) => check_eq!(error.kind(), ErrorKind::Config),
        // Where the platform starts it before it looks, the shells' codes for it come back.
        Ok(session) => match session.collect().await {
            Err(error) => check_eq!(error.kind(), ErrorKind::Config),
            Ok(output) => {
                let code = output.exit.map(ExitStatus::shell_code);
                check!(matches!(code, Some(126 | 127)), "{output:?}");
            }
        },
    }
    check_eq!(exec(&cx, &worker, &options(&cx, &Program::Exit(0))).await?.exit, Some(ExitStatus::Code(0)));
    Ok(())
}

async fn p1_exec_in_one_that_does_not_run_is_a_conflict(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::Exit(0)).await?;
    let asked = options(&cx, &Program::Exit(0));
    fails_with(ErrorKind::Conflict, cx.provider().exec_in_worker(&worker, &asked).await)?;
    cx.start(&worker).await?;
    cx.ended(&worker).await?;
    cx.provider().stop_worker(&worker, &StopOptions::kill()).await?;
    fails_with(ErrorKind::Conflict, cx.provider().exec_in_worker(&worker, &asked).await)?;
    Ok(())
}

async fn p1_exec_in_what_is_missing_is_not_found(cx: CaseContext) -> CaseResult {
    let nobody = WorkerRef::first("nobody".parse()?);
    fails_with(
        ErrorKind::NotFound,
        cx.provider().exec_in_worker(&nobody, &options(&cx, &Program::Exit(0))).await,
    )?;
    Ok(())
}
