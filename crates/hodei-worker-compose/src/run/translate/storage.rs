//! Volumes and other mounts.

use hodei_worker_core::{
    model::{Mount, WorkerSpec},
    quantity::ByteSize,
};
use serde_json::{Value as Json, json};

use super::docker;
use crate::{
    Project, Service,
    model::{self, MountKind},
    run::{names, refuse::Refusals},
    units,
};

/// Adds the mounts. Gives those that are volumes of each worker alone, with their targets.
pub(super) fn translate(
    project: &Project,
    service: &Service,
    spec: &mut WorkerSpec,
    refusals: &mut Refusals<'_>,
) -> Vec<(usize, String)> {
    let mut anonymous = Vec::new();
    for (n, mount) in service.volumes.iter().enumerate() {
        let path = format!("services.{}.volumes[{n}]", service.name);
        let one = match (mount.kind, &mount.source) {
            (MountKind::Bind, Some(source)) => bind(mount, source, &path, spec, refusals),
            (MountKind::Volume, Some(source)) => volume(project, mount, source, spec),
            (MountKind::Volume, None) => {
                anonymous.push((spec.mounts.len(), mount.target.clone()));
                volume_options(mount, spec);
                // The worker's number completes the name.
                Mount::volume(format!("{}_{}", project.name, names::digest(&mount.target, 6)), &mount.target)
            }
            (MountKind::Tmpfs, _) => tmpfs(mount, spec),
            (MountKind::Bind, None) => {
                refusals.add(path, "a bind mount needs a source");
                continue;
            }
            (kind, _) => {
                refusals.add(
                    format!("{path}.type"),
                    format!("mounts of the kind `{kind:?}` are not supported").to_lowercase(),
                );
                continue;
            }
        };
        if let Some(options) = &mount.volume {
            refusals.unless(
                &options.labels,
                format!("{path}.volume.labels"),
                "labels of a volume are those of `volumes`",
            );
        }
        refusals.unless(
            &mount.consistency.clone().filter(|mode| mode != "default" && mode != "consistent"),
            format!("{path}.consistency"),
            "is for other systems",
        );
        spec.mounts.push(if mount.read_only { one.read_only() } else { one });
    }
    for (n, text) in service.tmpfs.iter().enumerate() {
        memory(text, &format!("services.{}.tmpfs[{n}]", service.name), spec, refusals);
    }
    anonymous
}

fn bind(
    mount: &model::Mount,
    source: &str,
    path: &str,
    spec: &mut WorkerSpec,
    refusals: &mut Refusals<'_>,
) -> Mount {
    let options = mount.bind.clone().unwrap_or_default();
    refusals.unless(&options.selinux, format!("{path}.bind.selinux"), "labels of host paths are not changed");
    refusals.unless(&options.recursive, format!("{path}.bind.recursive"), "is not supported");
    if options.create_host_path {
        docker::set(spec, &["storage", "mounts", &mount.target, "create_host_path"], Json::from(true));
    }
    if let Some(mode) = options.propagation {
        docker::set(spec, &["storage", "mounts", &mount.target, "propagation"], Json::from(mode));
    }
    Mount::bind(source, &mount.target)
}

fn volume(project: &Project, mount: &model::Mount, source: &str, spec: &mut WorkerSpec) -> Mount {
    volume_options(mount, spec);
    let Some(volume) = project.volumes.get(source) else { return Mount::volume(source, &mount.target) };
    let mut definition = json!({});
    if volume.external {
        definition["external"] = true.into();
    } else {
        let mut labels = volume.labels.clone();
        labels.insert(names::PROJECT.to_owned(), project.name.clone());
        labels.insert(names::VOLUME.to_owned(), source.to_owned());
        definition["labels"] = json!(labels);
        if let Some(driver) = &volume.driver {
            definition["driver"] = json!(driver);
        }
        if !volume.driver_opts.is_empty() {
            definition["driver_options"] = json!(volume.driver_opts);
        }
    }
    docker::set(spec, &["storage", "volumes", &volume.name], definition);
    Mount::volume(&volume.name, &mount.target)
}

fn volume_options(mount: &model::Mount, spec: &mut WorkerSpec) {
    let Some(options) = &mount.volume else { return };
    if options.nocopy {
        docker::set(spec, &["storage", "mounts", &mount.target, "no_copy"], Json::from(true));
    }
    if let Some(subpath) = &options.subpath {
        docker::set(spec, &["storage", "mounts", &mount.target, "subpath"], json!(subpath));
    }
}

fn tmpfs(mount: &model::Mount, spec: &mut WorkerSpec) -> Mount {
    let options = mount.tmpfs.clone().unwrap_or_default();
    if options.mode > 0 {
        docker::set(spec, &["storage", "mounts", &mount.target, "mode"], json!(options.mode));
    }
    Mount::tmpfs(&mount.target, u64::try_from(options.size).ok().filter(|size| *size > 0).map(ByteSize::new))
}

/// The short form: `path`, or `path:options`.
fn memory(text: &str, path: &str, spec: &mut WorkerSpec, refusals: &mut Refusals<'_>) {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let (mut size, mut read_only) = (None, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => match units::bytes(value).and_then(|bytes| u64::try_from(bytes).ok()) {
                Some(bytes) => size = Some(ByteSize::new(bytes)),
                None => refusals.add(path, format!("`{value}` is no size")),
            },
            Some(("mode", value)) => match u32::from_str_radix(value, 8) {
                Ok(mode) => docker::set(spec, &["storage", "mounts", target, "mode"], json!(mode)),
                Err(_) => refusals.add(path, format!("`{value}` is no mode")),
            },
            None if option == "ro" => read_only = true,
            // As an engine mounts it anyway.
            None if matches!(option, "rw" | "nosuid" | "nodev" | "noexec") => {}
            _ => refusals
                .add(path, format!("the option `{option}` is not supported: there are size, mode, ro, rw")),
        }
    }
    let mount = Mount::tmpfs(target, size);
    spec.mounts.push(if read_only { mount.read_only() } else { mount });
}
