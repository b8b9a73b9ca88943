//! Limits, rights and namespaces.

use bollard::models::{
    DeviceMapping, HostConfig, HostConfigCgroupnsModeEnum, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use hodei_worker_core::WorkerConfig;

use super::Parts;
use crate::{DockerOptions, NativeRestart, options::capability};

/// Everything of the host's configuration that is no mount, network or log.
pub(super) fn config(config: &WorkerConfig, parts: &Parts<'_>) -> HostConfig {
    let options = parts.options;
    let (security, limits) = (&options.security, &options.limits);
    let words = |all: &[String]| (!all.is_empty()).then(|| all.to_vec());
    let capabilities = |all: &std::collections::BTreeSet<String>| {
        words(&all.iter().map(|name| capability(name)).collect::<Vec<_>>())
    };
    HostConfig {
        init: options.init,
        restart_policy: Some(restart(options.native_restart)),
        privileged: security.privileged.then_some(true),
        cap_add: capabilities(&security.added_capabilities),
        cap_drop: capabilities(&security.dropped_capabilities),
        readonly_rootfs: security.read_only_root,
        security_opt: words(&security_options(options)),
        group_add: words(&security.groups),
        pid_mode: security.pid.clone(),
        ipc_mode: security.ipc.clone(),
        uts_mode: security.uts.clone(),
        userns_mode: security.userns.clone(),
        cgroupns_mode: security.cgroupns.as_deref().and_then(|mode| match mode {
            "host" => Some(HostConfigCgroupnsModeEnum::HOST),
            "private" => Some(HostConfigCgroupnsModeEnum::PRIVATE),
            _ => None,
        }),
        runtime: security.runtime.clone(),
        devices: (!options.storage.devices.is_empty()).then(|| {
            let device = |device: &crate::DeviceOptions| DeviceMapping {
                path_on_host: Some(device.source.clone()),
                path_in_container: Some(device.target.clone()),
                cgroup_permissions: Some(device.permissions.clone()),
            };
            options.storage.devices.iter().map(device).collect()
        }),
        device_cgroup_rules: words(&options.storage.device_rules),
        annotations: (!options.annotations.is_empty())
            .then(|| options.annotations.clone().into_iter().collect()),
        ulimits: (!limits.ulimits.is_empty()).then(|| {
            let limit = |(name, limit): (&String, &crate::Ulimit)| ResourcesUlimits {
                name: Some(name.clone()),
                soft: Some(limit.soft),
                hard: Some(limit.hard),
            };
            limits.ulimits.iter().map(limit).collect()
        }),
        cpuset_cpus: limits.cpuset.clone(),
        cpuset_mems: limits.cpuset_memory.clone(),
        memory_swappiness: limits.memory_swappiness.map(i64::from),
        oom_kill_disable: limits.out_of_memory_kill_disabled.then_some(true),
        oom_score_adj: limits.out_of_memory_score.map(i64::from),
        shm_size: limits.shared_memory.map(|size| number(size.bytes())),
        blkio_weight: limits.block_io_weight,
        sysctls: (!limits.sysctls.is_empty()).then(|| limits.sysctls.clone().into_iter().collect()),
        storage_opt: (!limits.storage.is_empty()).then(|| limits.storage.clone().into_iter().collect()),
        cgroup_parent: limits.cgroup_parent.clone(),
        ..resources(config, parts)
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn resources(config: &WorkerConfig, parts: &Parts<'_>) -> HostConfig {
    let (resources, limits) = (&config.resources, &parts.options.limits);
    let memory = resources.memory_limit.map(|size| number(size.bytes()));
    let requested = resources.cpu_request.map(|cpu| {
        // 1024 shares stand for one core; the kernel knows no less than 2.
        number((cpu.millis().saturating_mul(1024) / 1000).max(2))
    });
    // As much swap in all as memory: none. Otherwise a limit on memory only makes a worker slow.
    let swap = match limits.memory_and_swap {
        _ if limits.unlimited_swap => Some(-1),
        Some(size) => Some(number(size.bytes())),
        None => memory,
    };
    HostConfig {
        nano_cpus: resources.cpu_limit.map(|cpu| number(cpu.nanos())),
        cpu_shares: limits.cpu_shares.map(number).or(requested),
        memory,
        memory_swap: swap,
        memory_reservation: resources.memory_request.map(|size| number(size.bytes())),
        pids_limit: resources.pids_limit.or(parts.hardened.pids_limit).map(number),
        ..HostConfig::default()
    }
}

fn security_options(options: &DockerOptions) -> Vec<String> {
    let security = &options.security;
    let mut all = Vec::new();
    if let Some(forbidden) = security.no_new_privileges {
        all.push(format!("no-new-privileges:{forbidden}"));
    }
    all.extend(security.seccomp.iter().map(|profile| format!("seccomp={profile}")));
    all.extend(security.apparmor.iter().map(|profile| format!("apparmor={profile}")));
    all.extend(security.selinux.iter().map(|label| format!("label={label}")));
    all
}

fn restart(policy: NativeRestart) -> RestartPolicy {
    let (name, retries) = match policy {
        NativeRestart::Never => (RestartPolicyNameEnum::NO, None),
        NativeRestart::OnFailure { max_retries } => (RestartPolicyNameEnum::ON_FAILURE, max_retries),
        NativeRestart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
    };
    RestartPolicy { name: Some(name), maximum_retry_count: retries.map(i64::from) }
}
