use super::{
    Field,
    Shape::{self, *},
};

macro_rules! table {
    ($($key:literal $(=> $json:literal)?: $shape:expr),+ $(,)?) => {
        &[$(Field { key: $key, json: table!(@json $key $($json)?), shape: $shape }),+]
    };
    (@json $key:literal) => { $key };
    (@json $key:literal $json:literal) => { $json };
}

pub(super) const SERVICE: &[Field] = table! {
    "profiles": Texts,
    "annotations": Labels,
    "attach": SetBool,
    "build": Set(BUILD),
    "develop": Set(table! { "watch": Many(TRIGGER) }),
    "blkio_config": Set(BLKIO),
    "cap_add": Texts,
    "cap_drop": Texts,
    "cgroup_parent": Text,
    "cgroup": Text,
    "cpu_count": Whole,
    "cpu_percent": Float,
    "cpu_period": Whole,
    "cpu_quota": Whole,
    "cpu_rt_period": Whole,
    "cpu_rt_runtime": Whole,
    "cpus": Float,
    "cpuset": Text,
    "cpu_shares": Whole,
    "command": Command,
    "configs": Many(FILE_MOUNT),
    "container_name": Text,
    "credential_spec": Set(table! { "config": Text, "file": Text, "registry": Text }),
    "depends_on": Named(table! { "condition": Text, "restart": Bool, "required": FixedBool }),
    "deploy": Set(DEPLOY),
    "device_cgroup_rules": Texts,
    "devices": Many(table! { "source": Text, "target": Text, "permissions": Text }),
    "dns": Texts,
    "dns_opt": Texts,
    "dns_search": Texts,
    "domainname": Text,
    "entrypoint": Command,
    "provider": Set(table! { "type": Text, "options": MultiOptions }),
    "environment": Variables,
    "env_file": Many(table! { "path": Text, "required": Allowed, "format": Text }),
    "expose": Printed,
    "extends": Set(table! { "file": Text, "service": Text }),
    "external_links": Texts,
    "extra_hosts": Hosts,
    "group_add": Texts,
    "gpus": Many(DEVICE_REQUEST),
    "hostname": Text,
    "healthcheck": Set(table! {
        "test": Test,
        "timeout": SetDuration,
        "interval": SetDuration,
        "retries": SetCount,
        "start_period": SetDuration,
        "start_interval": SetDuration,
        "disable": Bool,
    }),
    "image": Text,
    "init": SetBool,
    "ipc": Text,
    "isolation": Text,
    "labels": Labels,
    "label_file": Texts,
    "links": Texts,
    "logging": Set(table! { "driver": Text, "options": Options }),
    "mem_limit": Bytes,
    "mem_reservation": Bytes,
    "memswap_limit": Bytes,
    "mem_swappiness": Bytes,
    "mac_address": Text,
    "models": NamedOrNull(table! { "endpoint_var": Text, "model_var": Text }),
    "network_mode": Text,
    "networks": NamedOrNull(table! {
        "aliases": Texts,
        "driver_opts": Options,
        "gw_priority": Whole,
        "interface_name": Text,
        "ipv4_address": Text,
        "ipv6_address": Text,
        "link_local_ips": Texts,
        "mac_address": Text,
        "priority": Whole,
    }),
    "oom_kill_disable": Bool,
    "oom_score_adj": Whole,
    "pid": Text,
    "pids_limit": Whole,
    "platform": Text,
    "ports": Many(table! {
        "name": Text,
        "mode": Text,
        "host_ip": Text,
        "target": Count,
        "published": Text,
        "protocol": Text,
        "app_protocol": Text,
    }),
    "privileged": Bool,
    "pull_policy": Text,
    "read_only": Bool,
    "restart": Text,
    "runtime": Text,
    "scale": SetWhole,
    "secrets": Many(FILE_MOUNT),
    "security_opt": Texts,
    "shm_size": Bytes,
    "stdin_open": Bool,
    "stop_grace_period": SetDuration,
    "stop_signal": Text,
    "storage_opt": TextMap,
    "sysctls": Labels,
    "tmpfs": Texts,
    "tty": Bool,
    "ulimits": Ulimits,
    "use_api_socket": Bool,
    "user": Text,
    "userns_mode": Text,
    "uts": Text,
    "volumes": Many(VOLUME_MOUNT),
    "volumes_from": Texts,
    "working_dir": Text,
    "pre_start": Many(HOOK),
    "post_start": Many(HOOK),
    "pre_stop": Many(HOOK),
};

const BUILD: &[Field] = table! {
    "context": Text,
    "dockerfile": Text,
    "dockerfile_inline": Text,
    "entitlements": Texts,
    "args": Variables,
    "provenance": Text,
    "sbom": Text,
    "ssh": Ssh,
    "labels": Labels,
    "cache_from": Texts,
    "cache_to": Texts,
    "no_cache": Bool,
    "no_cache_filter": Texts,
    "additional_contexts": Labels,
    "pull": Bool,
    "extra_hosts": Hosts,
    "isolation": Text,
    "network": Text,
    "target": Text,
    "secrets": Many(FILE_MOUNT),
    "shm_size": Bytes,
    "tags": Texts,
    "ulimits": Ulimits,
    "platforms": Texts,
    "privileged": Bool,
};

const HOOK: &[Field] = table! {
    "command": Command,
    "image": Text,
    "user": Text,
    "privileged": Bool,
    "working_dir": Text,
    "environment": Variables,
    "per_replica": Bool,
};

const TRIGGER: &[Field] = table! {
    "path": FixedText,
    "action": FixedText,
    "target": Text,
    "exec": Fixed(HOOK),
    "include": Texts,
    "ignore": Texts,
    "initial_sync": Bool,
};

const LIMITED: Shape = Many(table! { "path" => "Path": FixedText, "rate" => "Rate": FixedBytes });
const BLKIO: &[Field] = table! {
    "weight": Count,
    "weight_device": Many(table! { "path" => "Path": FixedText, "weight" => "Weight": FixedSmall }),
    "device_read_bps": LIMITED,
    "device_read_iops": LIMITED,
    "device_write_bps": LIMITED,
    "device_write_iops": LIMITED,
};

const FILE_MOUNT: &[Field] =
    table! { "source": Text, "target": Text, "uid": Text, "gid": Text, "mode": Mode };

const DEVICE_REQUEST: &[Field] = table! {
    "capabilities": Texts,
    "driver": Text,
    "count": Devices,
    "device_ids": Texts,
    "options": Labels,
};

const UPDATE: &[Field] = table! {
    "parallelism": SetCount,
    "delay": Duration,
    "failure_action": Text,
    "monitor": Duration,
    "max_failure_ratio": Float,
    "order": Text,
};

const RESOURCE: &[Field] = table! {
    "cpus": Float,
    "memory": Bytes,
    "pids": Whole,
    "devices": Many(DEVICE_REQUEST),
    "generic_resources": Many(table! {
        "discrete_resource_spec": Set(table! { "kind": FixedText, "value": FixedWhole }),
    }),
};

const DEPLOY: &[Field] = table! {
    "mode": Text,
    "replicas": SetWhole,
    "labels": Labels,
    "update_config": Set(UPDATE),
    "rollback_config": Set(UPDATE),
    "resources": Fixed(table! { "limits": Set(RESOURCE), "reservations": Set(RESOURCE) }),
    "restart_policy": Set(table! {
        "condition": Text,
        "delay": SetDuration,
        "max_attempts": SetCount,
        "window": SetDuration,
    }),
    "placement": Fixed(table! {
        "constraints": Texts,
        "preferences": Many(table! { "spread": Text }),
        "max_replicas_per_node": Count,
    }),
    "endpoint_mode": Text,
};

const VOLUME_MOUNT: &[Field] = table! {
    "type": Text,
    "source": Text,
    "target": Text,
    "read_only": Bool,
    "consistency": Text,
    "bind": Set(table! {
        "selinux": Text,
        "propagation": Text,
        "create_host_path": Allowed,
        "recursive": Text,
    }),
    "volume": Set(table! { "labels": Labels, "nocopy": Bool, "subpath": Text }),
    "tmpfs": Set(table! { "size": Bytes, "mode": Count }),
    "image": Set(table! { "subpath": Text }),
};

pub(super) const NETWORK: &[Field] = table! {
    "name": Text,
    "driver": Text,
    "driver_opts": Options,
    "ipam": Fixed(table! {
        "driver": Text,
        "config": Many(table! { "subnet": Text, "gateway": Text, "ip_range": Text, "aux_addresses": Labels }),
        "options": Options,
    }),
    "external": Bool,
    "internal": Bool,
    "attachable": Bool,
    "labels": Labels,
    "enable_ipv4": SetBool,
    "enable_ipv6": SetBool,
};

pub(super) const VOLUME: &[Field] =
    table! { "name": Text, "driver": Text, "driver_opts": Options, "external": Bool, "labels": Labels };

pub(super) const FILE: &[Field] = table! {
    "name": Text,
    "file": Text,
    "environment": Text,
    "content": Text,
    "external": Bool,
    "labels": Labels,
    "driver": Text,
    "driver_opts": TextMap,
    "template_driver": Text,
};

pub(super) const MODEL: &[Field] = table! {
    "name": Text,
    "model": Text,
    "context_size": Whole,
    "runtime_flags": Texts,
};
