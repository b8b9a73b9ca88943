use super::{CaseContext, CaseFailure, CaseResult, Program, cases, check, check_eq};
use crate::{
    capability::Capability,
    error::ErrorKind,
    model::{Mount, Port},
    provider::{CreateOptions, DeleteOptions, WorkerProviderExt as _},
};

cases! {
    p1_environment_comes_through_as_it_is [Logs, KeepsEnded];
    p1_environment_may_be_empty [Logs, KeepsEnded];
    p1_arguments_come_through_as_they_are [Logs, KeepsEnded];
    p1_working_directory_is_where_it_starts [Logs, KeepsEnded];
    p1_two_workers_of_one_id_in_two_installations [KeepsEnded];
    p3_what_the_provider_lacks_is_refused_before_anything_is_created [];
    d3_a_mount_that_does_not_exist_is_refused_before_anything_is_created [HostPaths];
    d3_a_folder_of_the_host_is_mounted_and_kept_from_writing [HostPaths, Logs, KeepsEnded];
    d3_a_volume_outlives_its_worker_if_it_is_kept [Volumes, Logs, KeepsEnded];
    d4_a_published_port_is_told [Networking, Logs];
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
    cx.lists(&[ours]).await?;
    Ok(())
}

async fn p3_what_the_provider_lacks_is_refused_before_anything_is_created(cx: CaseContext) -> CaseResult {
    let plain = || cx.builder("a", &Program::Exit(0));
    let asking = [
        (Capability::CpuLimit, plain().cpu_limit("1")),
        (Capability::MemoryLimit, plain().memory_limit("64Mi")),
        (Capability::PidsLimit, plain().pids_limit(100)),
        (Capability::HostPaths, plain().mount(Mount::bind("/proc", "/mnt"))),
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
                return Err(CaseFailure::new(format!("`{capability}` is missing, yet {other:?}")));
            }
        }
        cx.lists(&[]).await?;
    }
    Ok(())
}

async fn d3_a_mount_that_does_not_exist_is_refused_before_anything_is_created(cx: CaseContext) -> CaseResult {
    let builder = cx.builder("a", &Program::Exit(0)).mount(Mount::bind("/no/such/folder", "/mnt"));
    let result = cx.provider().create_worker(&builder.build()?, &CreateOptions::default()).await;
    let error = super::fails_with(ErrorKind::Config, result)?;
    check!(error.to_string().contains("mounts[0]"), "does not name the field: {error}");
    cx.lists(&[]).await?;
    Ok(())
}

async fn d3_a_folder_of_the_host_is_mounted_and_kept_from_writing(cx: CaseContext) -> CaseResult {
    let folder = std::env::temp_dir().join(format!("hodei-mount-{}", cx.installation()));
    let io = |error: std::io::Error| CaseFailure::new(format!("{}: {error}", folder.display()));
    std::fs::create_dir(&folder)
        .and_then(|()| std::fs::write(folder.join("note"), "of the host"))
        .map_err(io)?;
    let mount = Mount::bind(folder.display().to_string(), "/mnt").read_only();
    let result = async {
        let reader = cx.builder("reader", &Program::File("/mnt/note".into())).mount(mount.clone());
        let reader = cx.run_as(reader).await?;
        check!(cx.ended(&reader).await?.succeeded(), "it could not read the mount");
        check_eq!(cx.text(&reader).await?, "of the host");
        let writer = cx.builder("writer", &Program::Write("/mnt/other".into())).mount(mount);
        let writer = cx.run_as(writer).await?;
        let exit = cx.ended(&writer).await?.exit;
        check_eq!(exit.map(|exit| exit.shell_code()), Some(3));
        check!(!folder.join("other").exists(), "it wrote into a mount that is for reading");
        Ok(())
    };
    let result: CaseResult = result.await;
    std::fs::remove_dir_all(&folder).map_err(io)?;
    result
}

async fn d3_a_volume_outlives_its_worker_if_it_is_kept(cx: CaseContext) -> CaseResult {
    let name = format!("{}-data", cx.installation());
    let volume = || Mount::volume(name.as_str(), "/data");
    let writer =
        cx.run_as(cx.builder("writer", &Program::Write("/data/note".into())).mount(volume())).await?;
    check!(cx.ended(&writer).await?.succeeded(), "it could not write into the volume");
    cx.provider().delete_worker(&writer, &DeleteOptions::keeping_volumes()).await?;
    for (id, keep) in [("first", true), ("second", false)] {
        let reader = cx.run_as(cx.builder(id, &Program::File("/data/note".into())).mount(volume())).await?;
        cx.ended(&reader).await?;
        check_eq!(cx.text(&reader).await?, "written");
        let options = if keep { DeleteOptions::keeping_volumes() } else { DeleteOptions::default() };
        cx.provider().delete_worker(&reader, &options).await?;
    }
    let late = cx.run_as(cx.builder("late", &Program::File("/data/note".into())).mount(volume())).await?;
    check!(!cx.ended(&late).await?.succeeded(), "what was written is still there");
    Ok(())
}

async fn d4_a_published_port_is_told(cx: CaseContext) -> CaseResult {
    let builder =
        cx.builder("a", &Program::ObeyTerm(0)).port(Port::tcp(8080).named("http")).port(Port::tcp(9090));
    let config = builder.build()?;
    let worker = cx.provider().run_worker(&config).await?.worker;
    cx.says(&worker, "ready").await?;
    let status = cx.until(&worker, "reachable", |status| status.addresses.len() == 2).await?;
    let (Some(http), Some(other)) = (status.address(8080), status.address(9090)) else {
        return Err(CaseFailure::new(format!("not all ports are told: {status:?}")));
    };
    check_eq!(config.port("http").and_then(|port| status.address_of(port)), Some(http));
    check!(http.host_port != 0 && other.host_port != 0 && !http.host.is_empty(), "{status:?}");
    check!(
        (&http.host, http.host_port) != (&other.host, other.host_port),
        "two ports at one address: {status:?}"
    );
    Ok(())
}
