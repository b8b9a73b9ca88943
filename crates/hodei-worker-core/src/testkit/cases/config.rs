use super::{CaseContext, CaseResult, Program, cases, check, check_eq};
use crate::{capability::Capability, error::ErrorKind, model::Mount, provider::CreateOptions};

cases! {
    p1_environment_comes_through_as_it_is [Logs];
    p1_environment_may_be_empty [Logs];
    p1_arguments_come_through_as_they_are [Logs];
    p1_working_directory_is_where_it_starts [Logs];
    p1_two_workers_of_one_id_in_two_installations [];
    p3_what_the_provider_lacks_is_refused_before_anything_is_created [];
    d3_a_mount_that_does_not_exist_is_refused_before_anything_is_created [Volumes];
    d3_a_folder_of_the_host_is_mounted_read_only [Volumes, Logs];
}

async fn p1_environment_comes_through_as_it_is(cx: CaseContext) -> CaseResult {
    let values = ["a b", "two\nlines\n", "it's \"quoted\" $HOME `id` \\n", "grüße, 世界 🦀", "=", "\t"];
    for (n, value) in values.into_iter().enumerate() {
        let builder =
            cx.builder(&format!("e-{n}"), &Program::Environment("VALUE".into())).env("VALUE", value);
        let worker = cx.run_as(builder).await?;
        cx.ended(&worker).await?;
        check_eq!(cx.text(&worker).await?, value);
    }
    Ok(())
}

async fn p1_environment_may_be_empty(cx: CaseContext) -> CaseResult {
    let worker = cx.run_as(cx.builder("a", &Program::Environment("VALUE".into())).env("VALUE", "")).await?;
    check!(cx.ended(&worker).await?.succeeded(), "it failed");
    check_eq!(cx.text(&worker).await?, "");
    Ok(())
}

async fn p1_arguments_come_through_as_they_are(cx: CaseContext) -> CaseResult {
    let arguments = ["a b", "*", "$HOME", "'", "\"", "ü", "--flag=x", ""];
    let worker = cx.run_as(cx.builder("a", &Program::Arguments).args(arguments)).await?;
    cx.ended(&worker).await?;
    let wanted: String = arguments.iter().map(|argument| format!("<{argument}>\n")).collect();
    check_eq!(cx.text(&worker).await?, wanted);
    Ok(())
}

async fn p1_working_directory_is_where_it_starts(cx: CaseContext) -> CaseResult {
    let worker = cx.run_as(cx.builder("a", &Program::WorkingDirectory).working_dir("/proc")).await?;
    cx.ended(&worker).await?;
    check_eq!(cx.text(&worker).await?.trim_end(), "/proc");
    Ok(())
}

async fn p1_two_workers_of_one_id_in_two_installations(cx: CaseContext) -> CaseResult {
    let other = cx.another_installation().await?;
    let ours = cx.run("a", &Program::Exit(1)).await?;
    let theirs = other.run("a", &Program::Exit(2)).await?;
    let exits = (cx.ended(&ours).await?.exit, other.ended(&theirs).await?.exit);
    other.clean_up().await?;
    check_eq!(exits.0.map(|exit| exit.shell_code()), Some(1));
    check_eq!(exits.1.map(|exit| exit.shell_code()), Some(2));
    check_eq!(cx.listed().await?, [ours]);
    Ok(())
}

async fn p3_what_the_provider_lacks_is_refused_before_anything_is_created(cx: CaseContext) -> CaseResult {
    let plain = || cx.builder("a", &Program::Exit(0));
    let asking = [
        (Capability::CpuLimit, plain().cpu_limit("1")),
        (Capability::MemoryLimit, plain().memory_limit("64Mi")),
        (Capability::PidsLimit, plain().pids_limit(100)),
        (Capability::Volumes, plain().mount(Mount::bind("/usr", "/mnt"))),
        (Capability::Images, plain().image("some/image:1")),
    ];
    for (capability, builder) in asking {
        if cx.has(capability) {
            continue;
        }
        match cx.provider().create_worker(&builder.build()?, &CreateOptions::default()).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                check!(
                    error.to_string().contains(capability.as_str()),
                    "does not name `{capability}`: {error}"
                );
            }
            other => {
                return Err(super::CaseFailure::new(format!("`{capability}` is missing, yet {other:?}")));
            }
        }
        check_eq!(cx.listed().await?, []);
    }
    Ok(())
}

async fn d3_a_mount_that_does_not_exist_is_refused_before_anything_is_created(cx: CaseContext) -> CaseResult {
    let builder = cx.builder("a", &Program::Exit(0)).mount(Mount::bind("/no/such/folder", "/mnt"));
    let result = cx.provider().create_worker(&builder.build()?, &CreateOptions::default()).await;
    let error = super::fails_with(ErrorKind::Config, result)?;
    check!(error.to_string().contains("mounts[0]"), "does not name the field: {error}");
    check_eq!(cx.listed().await?, []);
    Ok(())
}

async fn d3_a_folder_of_the_host_is_mounted_read_only(cx: CaseContext) -> CaseResult {
    let mount = Mount::bind("/etc/hostname", "/mnt/name").read_only();
    let worker = cx.run_as(cx.builder("a", &Program::File("/mnt/name".into())).mount(mount)).await?;
    check!(cx.ended(&worker).await?.succeeded(), "it could not read the mount");
    check!(!cx.text(&worker).await?.is_empty(), "the mount is empty");
    Ok(())
}
