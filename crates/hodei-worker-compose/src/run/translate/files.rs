//! Secrets and configs: files of a worker's that its provider gets from the store of credentials.

use hodei_worker_core::model::{SecretReference, WorkerSpec};

use crate::{
    Project, Service,
    model::{FileMount, FileObject},
    run::{credentials, refuse::Refusals},
};

pub(super) fn translate(
    project: &Project,
    service: &Service,
    spec: &mut WorkerSpec,
    refusals: &mut Refusals<'_>,
) {
    for (kind, mounts, objects, folder) in [
        ("secrets", &service.secrets, &project.secrets, "/run/secrets/"),
        ("configs", &service.configs, &project.configs, "/"),
    ] {
        for (n, mount) in mounts.iter().enumerate() {
            let path = format!("services.{}.{kind}[{n}]", service.name);
            let Some(object) = objects.get(&mount.source) else { continue };
            contents(project, kind, &mount.source, object, refusals);
            check(&path, kind, mount, object, refusals);
            let target = mount.target.clone().unwrap_or_else(|| mount.source.clone());
            let target = if target.starts_with('/') { target } else { format!("{folder}{target}") };
            let key = credentials::key(&project.name, kind, &mount.source, object);
            spec.secrets.push(SecretReference::file(key, target));
        }
    }
}

/// Refuses what has no contents: a worker must not start with an empty password.
fn contents(project: &Project, kind: &str, source: &str, object: &FileObject, refusals: &mut Refusals<'_>) {
    let top = format!("{kind}.{source}");
    match (&object.file, &object.content, &object.environment) {
        (Some(file), ..) if !std::path::Path::new(file).exists() => {
            refusals.add(format!("{top}.file"), format!("`{file}` does not exist"));
        }
        (None, None, Some(variable)) if !project.environment.contains_key(variable) => {
            refusals.add(format!("{top}.environment"), format!("the variable `{variable}` is not set"));
        }
        _ => {}
    }
}

fn check(path: &str, kind: &str, mount: &FileMount, object: &FileObject, refusals: &mut Refusals<'_>) {
    let not = "is not supported: the file is its container's user's, for reading";
    refusals.unless(&mount.uid, format!("{path}.uid"), not);
    refusals.unless(&mount.gid, format!("{path}.gid"), not);
    refusals.unless(&mount.mode, format!("{path}.mode"), not);
    let top = format!("{kind}.{}", mount.source);
    refusals.unless(&object.driver, format!("{top}.driver"), "needs a swarm");
    refusals.unless(&object.driver_opts, format!("{top}.driver_opts"), "needs a swarm");
    refusals.unless(&object.template_driver, format!("{top}.template_driver"), "needs a swarm");
}
