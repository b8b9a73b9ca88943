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
    let own = configured.iter().map(|mount| one(mount, parts));
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
    own.chain(added).chain(secrets).collect()
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
                    no_copy: more.no_copy.then_some(true),
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
