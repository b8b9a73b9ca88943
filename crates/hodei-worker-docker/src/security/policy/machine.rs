//! What of the machine, of others on it and of the engine itself a worker may ask for.

use std::collections::BTreeMap;

use hodei_worker_core::{WorkerConfig, model::MountSource, settings::Problems};

use super::{SecurityPolicy, broken};
use crate::{
    DeviceOptions, DockerOptions, HealthOptions, LimitOptions, MountOptions, NetworkOptions,
    NetworkingOptions, SecurityOptions, StorageOptions, VolumeOptions,
};

/// Log drivers that send nothing anywhere.
const KEPT_LOGS: [&str; 3] = ["local", "json-file", "none"];
/// Options of log drivers that say how much is kept, not where.
const LOG_SIZES: [&str; 5] = ["max-size", "max-file", "compress", "mode", "max-buffer-size"];
/// Options of a file system in memory that say how large it is and whose.
const MEMORY: [&str; 5] = ["size", "uid", "gid", "mode", "nr_inodes"];

impl SecurityPolicy {
    /// Looks at every option. Each is named here, so that a new one does not compile before somebody has thought about it.
    pub(super) fn machine(&self, config: &WorkerConfig, options: &DockerOptions, problems: &mut Problems) {
        let DockerOptions {
            // Judged with the rights, by `apply`.
            user: _,
            network,
            log_driver,
            log_options,
            networking,
            storage,
            limits,
            annotations,
            security,
            // Of no consequence to anybody else.
            pull: _,
            init: _,
            stop_signal: _,
            native_restart: _,
            platform: _,
            tty: _,
            open_stdin: _,
            health: HealthOptions { disabled: _, start_interval: _, timeout: _ },
            allow_secret_variables: _,
        } = options;
        self.namespaces(network.as_deref(), security, problems);
        self.storage(storage, problems);
        self.limits(limits, problems);
        self.networks(networking, problems);
        for (n, mount) in config.mounts.iter().enumerate() {
            let MountSource::Bind { path } = &mount.source else { continue };
            problems.require(
                self.allowed_host_paths.iter().any(|allowed| is_below(path, allowed)),
                format!("mounts[{n}].source.bind.path"),
                broken(&format!("`{path}` is the machine's"), "allowed_host_paths"),
            );
        }
        self.engine(annotations.is_empty(), "annotations", "there are some", problems);
        if let Some(driver) = log_driver {
            let what = format!("`{driver}` may send logs anywhere");
            self.engine(KEPT_LOGS.contains(&driver.as_str()), "log_driver", &what, problems);
        }
        for name in log_options.keys() {
            let what = format!("`{name}` may say where logs are sent");
            self.engine(LOG_SIZES.contains(&name.as_str()), "log_options", &what, problems);
        }
    }

    /// What of the engine itself only a policy allows that says so.
    fn engine(&self, good: bool, field: &str, what: &str, problems: &mut Problems) {
        problems.require(
            good || self.allow_engine_options,
            format!("options.docker.{field}"),
            broken(what, "allow_engine_options"),
        );
    }

    fn namespaces(&self, network: Option<&str>, security: &SecurityOptions, problems: &mut Problems) {
        let SecurityOptions {
            // Judged with the rights, by `apply`.
            privileged: _,
            added_capabilities: _,
            dropped_capabilities: _,
            no_new_privileges: _,
            read_only_root: _,
            seccomp: _,
            apparmor: _,
            selinux: _,
            groups: _,
            pid,
            ipc,
            uts,
            userns,
            cgroupns,
            runtime,
        } = security;
        self.engine(runtime.is_none(), "security.runtime", "is set", problems);
        // What keeps to the container itself is listed: engines have more ways to share than are known here.
        let own = |mode: &Option<String>, more: &[&str]| {
            mode.as_deref().is_none_or(|mode| matches!(mode, "" | "private") || more.contains(&mode))
        };
        for (field, is_own) in [
            ("network", network.is_none_or(is_network)),
            ("security.pid", own(pid, &[])),
            ("security.ipc", own(ipc, &["shareable", "none"])),
            ("security.uts", own(uts, &[])),
            ("security.userns", own(userns, &[])),
            ("security.cgroupns", own(cgroupns, &[])),
        ] {
            problems.require(
                self.allow_host_namespaces || is_own,
                format!("options.docker.{field}"),
                broken("is shared", "allow_host_namespaces"),
            );
        }
    }

    fn storage(&self, storage: &StorageOptions, problems: &mut Problems) {
        let StorageOptions { volumes, mounts, devices, device_rules, name_image_volumes: _ } = storage;
        let some = devices.iter().any(|DeviceOptions { source: _, target: _, permissions: _ }| true)
            || !device_rules.is_empty();
        problems.require(
            self.allow_devices || !some,
            "options.docker.storage.devices",
            broken("there are some", "allow_devices"),
        );
        for (target, mount) in mounts {
            let MountOptions { propagation, create_host_path: _, no_copy: _, subpath: _, mode: _ } = mount;
            let shared = propagation.as_deref().is_some_and(|mode| mode.ends_with("shared"));
            problems.require(
                self.allow_host_namespaces || !shared,
                format!("options.docker.storage.mounts.{target}.propagation"),
                broken("what it mounts would appear on the machine", "allow_host_namespaces"),
            );
        }
        for (name, volume) in volumes {
            let VolumeOptions { external: _, driver, driver_options, labels: _, owner: _ } = volume;
            if self.allow_volume_drivers {
                continue;
            }
            let field = |part: &str| format!("options.docker.storage.volumes.{name}.{part}");
            if let Some(driver) = driver.as_deref().filter(|driver| !matches!(*driver, "" | "local")) {
                problems.add(
                    field("driver"),
                    broken(&format!("`{driver}` is not `local`"), "allow_volume_drivers"),
                );
            } else if let Some(device) = bound(driver_options) {
                problems.require(
                    self.allowed_host_paths.iter().any(|allowed| is_below(device, allowed)),
                    field("driver_options"),
                    broken(&format!("`{device}` is the machine's"), "allowed_host_paths"),
                );
            } else if !driver_options.is_empty() && !is_memory(driver_options) {
                let what = "neither a file system in memory nor a folder bound as `bind` or `bind,ro`";
                problems.add(field("driver_options"), broken(what, "allow_volume_drivers"));
            }
        }
    }

    fn limits(&self, limits: &LimitOptions, problems: &mut Problems) {
        let LimitOptions {
            // Its own share of the machine.
            ulimits: _,
            cpuset: _,
            cpuset_memory: _,
            cpu_shares: _,
            memory_and_swap: _,
            unlimited_swap: _,
            memory_swappiness: _,
            shared_memory: _,
            block_io_weight: _,
            out_of_memory_kill_disabled,
            out_of_memory_score,
            sysctls,
            storage,
            cgroup_parent,
        } = limits;
        for (good, field, what) in [
            (!out_of_memory_kill_disabled, "out_of_memory_kill_disabled", "is set"),
            (
                out_of_memory_score.is_none_or(|score| score >= 0),
                "out_of_memory_score",
                "others would be killed first",
            ),
            (
                sysctls.keys().all(|name| name.starts_with("net.")),
                "sysctls",
                "one does not begin with `net.`",
            ),
            (storage.is_empty(), "storage", "there are some"),
            (cgroup_parent.is_none(), "cgroup_parent", "is set"),
        ] {
            self.engine(good, &format!("limits.{field}"), what, problems);
        }
    }

    fn networks(&self, networking: &NetworkingOptions, problems: &mut Problems) {
        let NetworkingOptions {
            hostname: _,
            domainname: _,
            dns: _,
            dns_search: _,
            dns_options: _,
            extra_hosts: _,
            mac_address: _,
            port_ranges: _,
            networks,
        } = networking;
        for (name, network) in networks {
            let NetworkOptions {
                external: _,
                driver,
                driver_options,
                internal: _,
                attachable: _,
                ipv6: _,
                subnets: _,
                labels: _,
            } = network;
            let field = |part: &str| format!("networking.networks.{name}.{part}");
            if let Some(driver) = driver {
                let what = format!("`{driver}` is not `bridge`");
                self.engine(driver == "bridge", &field("driver"), &what, problems);
            }
            self.engine(driver_options.is_empty(), &field("driver_options"), "there are some", problems);
        }
    }
}

/// Whether it names a network, or none, rather than a way to share another's.
fn is_network(mode: &str) -> bool {
    mode != "host" && mode.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// The folder that a volume of the engine's own driver shows, where it is exactly that.
fn bound(options: &BTreeMap<String, String>) -> Option<&str> {
    let get = |name: &str| options.get(name).map(String::as_str);
    let is_it =
        options.len() == 3 && get("type") == Some("none") && matches!(get("o"), Some("bind" | "bind,ro"));
    get("device").filter(|_| is_it)
}

/// Whether a volume of the engine's own driver is held in memory, and nothing else. The driver hands its options to
/// mount(2), where `bind` in `o` would make the type meaningless.
fn is_memory(options: &BTreeMap<String, String>) -> bool {
    let good = options.iter().all(|(name, value)| match name.as_str() {
        "type" | "device" => value == "tmpfs",
        "o" => value.split(',').all(|one| one.split_once('=').is_some_and(|(key, _)| MEMORY.contains(&key))),
        _ => false,
    });
    good && options.contains_key("type") && options.contains_key("device")
}

/// Whether a path is another or lies below it, by their parts; one that climbs lies nowhere.
pub(super) fn is_below(path: &str, folder: &str) -> bool {
    let parts = |path: &str| -> Option<Vec<String>> {
        let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.map(|part| (part != "..").then(|| part.to_owned())).collect()
    };
    match (parts(path), parts(folder)) {
        (Some(path), Some(folder)) => path.starts_with(&folder),
        _ => false,
    }
}
