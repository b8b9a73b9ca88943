//! What claims are bound to: folders that anybody may write to, each for one claim. Those that the controller manager can make
//! by itself are root's alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::cluster::Cluster;
use crate::failure::{Context, Result};

/// The class of claims that name none.
const CLASS: &str = "folders";
/// More than the tests of one cluster's life claim.
const FOLDERS: usize = 200;

pub(super) fn announce(cluster: &Cluster<'_>) -> Result<()> {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": CLASS,
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
    });
    cluster.api().apply(&format!("/apis/storage.k8s.io/v1/storageclasses/{CLASS}"), &class)?;
    for n in 0..FOLDERS {
        let (name, path) = (format!("folder-{n}"), cluster.path(&format!("folders/{n}")));
        fs::create_dir_all(&path).context(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).context(&path)?;
        let volume = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": { "name": name },
            "spec": {
                "storageClassName": CLASS,
                "capacity": { "storage": "1Gi" },
                "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": { "path": path },
            },
        });
        cluster.api().apply(&format!("/api/v1/persistentvolumes/{name}"), &volume)?;
    }
    Ok(())
}
