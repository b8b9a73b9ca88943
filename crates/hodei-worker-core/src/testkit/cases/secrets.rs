use super::{CaseContext, CaseResult, Program, cases, check, check_eq, fails_with};
use crate::{
    credential::{CredentialProvider as _, SecretKey, StoreOptions},
    error::ErrorKind,
    model::SecretReference,
    provider::{CreateOptions, ExecOptions, StartOptions},
    status::WorkerPhase,
};

cases! {
    c13_a_secret_arrives_as_a_file [SecretFiles, Logs, KeepsEnded];
    c13_a_secret_is_resolved_again_at_each_start [SecretFiles, Logs, RestartInPlace, KeepsEnded];
    c13_a_secret_that_is_missing_keeps_the_worker_from_running [SecretFiles, KeepsEnded];
    c13_a_secret_as_a_variable_arrives_or_is_refused [Logs, KeepsEnded];
    c13_a_secret_shows_nowhere [SecretFiles, KeepsEnded];
    c13_a_command_gets_secrets_as_variables [Exec, Logs];
}

const PLANTED: &str = "planted-hunter2-\u{fc}";

async fn put(cx: &CaseContext, value: &str) -> CaseResult {
    let key = SecretKey::new("db/password").map_err(|error| error.to_string())?;
    cx.secrets().store_credential(&key, value.into(), &StoreOptions::default()).await?;
    Ok(())
}

fn reader(cx: &CaseContext) -> crate::model::WorkerConfigBuilder {
    let (path, word) = cx.subject().secret_path("password");
    cx.builder("a", &Program::File(word)).secret(SecretReference::file("db/password", path))
}

async fn c13_a_secret_arrives_as_a_file(cx: CaseContext) -> CaseResult {
    put(&cx, PLANTED).await?;
    let worker = cx.run_as(reader(&cx)).await?;
    let status = cx.ended(&worker).await?;
    check!(status.succeeded(), "it could not read the secret: {status:?}");
    check_eq!(cx.text(&worker).await?, PLANTED);
    Ok(())
}

async fn c13_a_secret_is_resolved_again_at_each_start(cx: CaseContext) -> CaseResult {
    put(&cx, "planted-first.").await?;
    let worker = cx.run_as(reader(&cx)).await?;
    let run = cx.ended(&worker).await?.run.clone();
    put(&cx, "planted-second.").await?;
    cx.provider().start_worker(&worker, &StartOptions::after(run.clone())).await?;
    cx.ended_after(&worker, run.as_ref()).await?;
    check_eq!(cx.text(&worker).await?, "planted-first.planted-second.");
    Ok(())
}

async fn c13_a_secret_that_is_missing_keeps_the_worker_from_running(cx: CaseContext) -> CaseResult {
    let created = cx.provider().create_worker(&reader(&cx).build()?, &CreateOptions::default()).await;
    let (error, worker) = match created {
        Err(error) => {
            cx.lists(&[]).await?;
            (error, None)
        }
        Ok(handle) => (fails_with(ErrorKind::Config, cx.start(&handle.worker).await)?, Some(handle.worker)),
    };
    check_eq!(error.kind(), ErrorKind::Config);
    check!(error.to_string().contains("db/password"), "does not name the secret: {error}");
    if let Some(worker) = worker {
        let status = cx.provider().get_worker_status(&worker).await?;
        check!(!status.phase.is_alive() && status.exit.is_none(), "{status:?}");
        put(&cx, PLANTED).await?;
        cx.start(&worker).await?;
        cx.until(&worker, "exited well", |status| status.succeeded()).await?;
    }
    Ok(())
}

async fn c13_a_secret_as_a_variable_arrives_or_is_refused(cx: CaseContext) -> CaseResult {
    put(&cx, PLANTED).await?;
    let builder = cx.builder("a", &Program::Environment("PASSWORD".into()));
    let builder = builder.secret(SecretReference::variable("db/password", "PASSWORD"));
    if !cx.subject().secret_variables() {
        let result = cx.provider().create_worker(&builder.build()?, &CreateOptions::default()).await;
        let error = fails_with(ErrorKind::Config, result)?;
        check!(error.to_string().contains("secrets[0]"), "does not name the field: {error}");
        cx.lists(&[]).await?;
        return Ok(());
    }
    let worker = cx.run_as(builder).await?;
    cx.ended(&worker).await?;
    check_eq!(cx.text(&worker).await?, PLANTED);
    Ok(())
}

async fn c13_a_secret_shows_nowhere(cx: CaseContext) -> CaseResult {
    put(&cx, PLANTED).await?;
    let worker = cx.run_as(reader(&cx)).await?;
    let status = cx.ended(&worker).await?;
    check_eq!(status.phase, WorkerPhase::Exited);
    let config = reader(&cx).build()?;
    for shown in [format!("{status:?}"), format!("{:?}", cx.provider()), format!("{config:?}")] {
        check!(!shown.contains("planted-hunter2"), "the secret shows in {shown}");
    }
    Ok(())
}

async fn c13_a_command_gets_secrets_as_variables(cx: CaseContext) -> CaseResult {
    put(&cx, PLANTED).await?;
    let worker = cx.run_ready("a", &Program::ObeyTerm(0)).await?;
    let command = ExecOptions::new(cx.subject().command(&Program::Environment("PASSWORD".into())));
    let asked = command.clone().secret(SecretReference::variable("db/password", "PASSWORD"));
    let output = cx.provider().exec_in_worker(&worker, &asked).await?.collect().await?;
    check_eq!(String::from_utf8_lossy(&output.stdout), PLANTED);
    for wrong in [
        SecretReference::file("db/password", "/run/password"),
        SecretReference::variable("no/such", "PASSWORD"),
    ] {
        let refused = cx.provider().exec_in_worker(&worker, &command.clone().secret(wrong)).await;
        fails_with(ErrorKind::Config, refused)?;
    }
    Ok(())
}
