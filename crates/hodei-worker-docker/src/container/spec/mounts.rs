//! What is mounted.

use bollard::models::{
    Mount as EngineMount, MountBindOptions, MountBindOptionsPropagationEnum as Propagation,
    MountTmpfsOptions, MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig,
};
use hodei_worker_core::model::{Mount, MountSource};

use super::Parts;
use crate::{names, options::VolumeOptions, secret::Shown};

/// All mounts: the worker's own, what the policy adds, and those of its secrets.
pub(super) fn all(configured: &[Mount], parts: &Parts<'_>) -> Vec<EngineMount> {
    let own = configured.iter().filter(|mount| !is_made_by_bind(mount, parts)).map(|mount| one(mount, parts));
    let declared = parts.declared.iter().map(|(name, target)| EngineMount {
        typ: Some(MountType::VOLUME),
        source: Some(name.clone()),
        target: Some(target.clone()),
        volume_options: Some(volume(VolumeOptions::default(), parts)),
        ..EngineMount::default()
    });
    let added = parts.hardened.writable.iter().map(|folder| EngineMount {
        target: Some(folder.clone()),
        typ: Some(MountType::TMPFS),
        ..EngineMount::default()
    });
    let secrets = parts.files.iter().map(|shown| match shown {
        Shown::File { host, target } => EngineMount {
            typ: Some(MountType::BIND),
            source: Some(host.display().to_string()),
            target: Some(target.clone()),
            read_only: Some(true),
            ..EngineMount::default()
        },
        Shown::Volume { name, target } => EngineMount {
            typ: Some(MountType::VOLUME),
            source: Some(name.clone()),
            target: Some(target.clone()),
            read_only: Some(true),
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(true),
                ..volume(VolumeOptions::default(), parts)
            }),
            ..EngineMount::default()
        },
    });
    own.chain(declared).chain(added).chain(secrets).collect()
}

/// Whether the folder is to be made, by an engine that does so for the old form alone.
fn is_made_by_bind(mount: &Mount, parts: &Parts<'_>) -> bool {
    !parts.makes_paths
        && matches!(mount.source, MountSource::Bind { .. })
        && parts.options.storage.mounts.get(&mount.target).is_some_and(|more| more.create_host_path)
}

/// Mounts in the old form.
pub(super) fn binds(configured: &[Mount], parts: &Parts<'_>) -> Option<Vec<String>> {
    let old = configured.iter().filter(|mount| is_made_by_bind(mount, parts));
    let text = old.filter_map(|mount| {
        let MountSource::Bind { path } = &mount.source else { return None };
        let more = parts.options.storage.mounts.get(&mount.target);
        let mut modes = vec![if mount.read_only { "ro" } else { "rw" }];
        modes.extend(more.and_then(|more| more.propagation.as_deref()));
        Some(format!("{path}:{}:{}", mount.target, modes.join(",")))
    });
    let all: Vec<_> = text.collect();
    (!all.is_empty()).then_some(all)
}

fn one(mount: &Mount, parts: &Parts<'_>) -> EngineMount {
    let more = parts.options.storage.mounts.get(&mount.target).cloned().unwrap_or_default();
    let base = EngineMount {
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..EngineMount::default()
    };
    match &mount.source {
        MountSource::Bind { path } => EngineMount {
            typ: Some(MountType::BIND),
            source: Some(path.clone()),
            bind_options: (more.propagation.is_some() || more.create_host_path).then(|| MountBindOptions {
                propagation: more.propagation.as_deref().and_then(propagation),
                create_mountpoint: more.create_host_path.then_some(true),
                ..MountBindOptions::default()
            }),
            ..base
        },
        MountSource::Volume { name } => {
            let definition = parts.options.storage.volumes.get(name).cloned().unwrap_or_default();
            EngineMount {
                typ: Some(MountType::VOLUME),
                source: Some(name.clone()),
                volume_options: Some(MountVolumeOptions {
                    // What is copied would bring its owner along.
                    no_copy: (more.no_copy || definition.owner.is_some()).then_some(true),
                    subpath: more.subpath,
                    ..volume(definition, parts)
                }),
                ..base
            }
        }
        MountSource::Tmpfs { size } => EngineMount {
            typ: Some(MountType::TMPFS),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: size.map(|size| i64::try_from(size.bytes()).unwrap_or(i64::MAX)),
                mode: more.mode.map(i64::from),
                ..MountTmpfsOptions::default()
            }),
            ..base
        },
        // A source that this version does not know yet is refused by the engine for want of a type.
        _ => base,
    }
}

/// Used only if the volume does not exist yet: it is ours then, and goes when nobody uses it any more.
fn volume(definition: VolumeOptions, parts: &Parts<'_>) -> MountVolumeOptions {
    if definition.external {
        return MountVolumeOptions::default();
    }
    let mut labels = definition.labels;
    labels.extend(parts.ownership.to_labels());
    labels.insert(names::ATTEMPT.to_owned(), parts.attempt.to_owned());
    let driven = definition.driver.is_some() || !definition.driver_options.is_empty();
    MountVolumeOptions {
        labels: Some(labels.into_iter().collect()),
        driver_config: driven.then(|| MountVolumeOptionsDriverConfig {
            name: Some(definition.driver.unwrap_or_else(|| "local".to_owned())),
            options: Some(definition.driver_options.into_iter().collect()),
        }),
        ..MountVolumeOptions::default()
    }
}

fn propagation(mode: &str) -> Option<Propagation> {
    Some(match mode {
        "private" => Propagation::PRIVATE,
        "rprivate" => Propagation::RPRIVATE,
        "shared" => Propagation::SHARED,
        "rshared" => Propagation::RSHARED,
        "slave" => Propagation::SLAVE,
        "rslave" => Propagation::RSLAVE,
        _ => return None,
    })
}
